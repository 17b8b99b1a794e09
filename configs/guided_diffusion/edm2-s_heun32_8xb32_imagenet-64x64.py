# Published: FID 1.58. The weights come under CC BY-NC-SA 4.0.
_base_ = [
    './_base_/models/edm2-s_imagenet-64x64.py',
    './_base_/evaluation/imagenet-64x64.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}),
    diffusion_scheduler=dict(type='EDMHeunScheduler'),
    num_inference_steps=32,
)

weights = dict(unet='edm2-img64-s-1073741-0.075')

# EDM's reference is of statistics alone, mu and sigma, of all training images.
test_evaluator = dict(
    reference='https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/imagenet-64x64.npz',
    metrics=[dict(type='InceptionScore'), dict(type='FrechetInceptionDistance')],
)
