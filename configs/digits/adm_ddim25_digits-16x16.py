_base_ = ['./_base_/models/adm_digits-16x16.py', './_base_/evaluation/held-out.py']

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    diffusion_scheduler=dict(type='DDIMScheduler', **_base_.diffusion),
    num_inference_steps=25,
)

weights = dict(unet='bundled://digits-16x16_unet.safetensors')
