# Trains the U-Net of drawings that ships with the package.
_base_ = [
    './_base_/schedules/edm.py',
    './_base_/models/edm_emoji-32x32.py',
    './_base_/datasets/emoji.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}),
    diffusion_scheduler=dict(type='EDMHeunScheduler'),
    num_inference_steps=18,
    loss=dict(type='EDMLoss', P_mean=-1.2, P_std=1.2),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='SampleSheet', interval=250, num_samples=32),
]
