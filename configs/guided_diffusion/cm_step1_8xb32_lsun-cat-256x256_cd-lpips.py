# Published: FID 11.0.
_base_ = ['./_base_/models/cm_lsun-256x256.py', './_base_/evaluation/lsun-cat-256x256.py']

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}, sigma_min=0.002, c_noise=250.0),
    diffusion_scheduler=dict(type='ConsistencyScheduler'),
    num_inference_steps=1,
)

weights = dict(unet='cd_cat256_lpips')
