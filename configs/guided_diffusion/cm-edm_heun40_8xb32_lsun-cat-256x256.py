# The teacher of the consistency models. Published: FID 6.69.
_base_ = ['./_base_/models/cm_lsun-256x256.py', './_base_/evaluation/lsun-cat-256x256.py']

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}, c_noise=250.0),
    diffusion_scheduler=dict(type='EDMHeunScheduler', clip_sample=True),
    num_inference_steps=40,
)

weights = dict(unet='edm_cat256_ema')
