_base_ = [
    './_base_/images-256x256.py',
    '../guided_diffusion/_base_/models/adm_imagenet-256x256-uncond.py',
]

# Wang et al. 2023; where y has noise, restoration.type='DDNMPlus'.
model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    diffusion_scheduler=dict(type='DDNMScheduler', variance_type='learned_range', eta=0.85),
    restoration=dict(type='DDNM'),
    num_inference_steps=100,
)

weights = dict(unet='256x256_diffusion_uncond')
