_base_ = [
    './_base_/images-256x256.py',
    '../guided_diffusion/_base_/models/adm_ffhq-256x256.py',
]

# Steps of 0.3 for enlarging and sharpening (Chung et al. 2023); inpainting takes 0.5.
model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    diffusion_scheduler=dict(type='DDPMScheduler', variance_type='learned_range'),
    restoration=dict(type='DPS', scale=0.3),
    num_inference_steps=1000,
)

test_dataloader = dict(dataset=dict(sigma_y=0.05))

weights = dict(unet='ffhq_10m')
