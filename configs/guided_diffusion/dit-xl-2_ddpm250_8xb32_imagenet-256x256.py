# Published: FID 9.62. The weights come under CC BY-NC 4.0.
_base_ = [
    './_base_/models/dit-xl-2_imagenet-256x256.py',
    './_base_/evaluation/imagenet-256x256.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    codec={{_base_.codec}},
    diffusion_scheduler=dict(type='DDPMScheduler', beta_schedule='linear', clip_sample=False),
    num_inference_steps=250,
)

weights = dict(unet='DiT-XL-2-256x256')
