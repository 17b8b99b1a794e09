# The teacher of the consistency models. Published: FID 2.44.
_base_ = ['./_base_/models/cm_imagenet-64x64.py', './_base_/evaluation/imagenet-64x64.py']

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}, c_noise=250.0),
    diffusion_scheduler=dict(type='EDMHeunScheduler', clip_sample=True),
    num_inference_steps=40,
)

weights = dict(unet='edm_imagenet64_ema')
