_base_ = ['./_base_/models/edm_emoji-32x32.py', './_base_/evaluation/held-out.py']

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}),
    diffusion_scheduler=dict(type='EDMHeunScheduler'),
    num_inference_steps=18,
    class_names={{_base_.class_names}},
)

weights = dict(unet='bundled://emoji-32x32_unet.safetensors')
