# The guided 32x32 model, enlarged.
model = dict(
    type='CascadedDiffusionModel',
    _scope_='mmagic_adm',
    base='edm-cfg_heun18_emoji-32x32',
    upsamplers=['edm-u_heun10_emoji-32x32-64x64'],
)
