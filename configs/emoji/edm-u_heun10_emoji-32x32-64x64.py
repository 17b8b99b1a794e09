_base_ = ['./_base_/models/edm-u_emoji-32x32-64x64.py']

model = dict(
    type='AblatedUpsamplingModel',
    _scope_='mmagic_adm',
    low_res_size=32,
    unet=dict(type='EDMPrecond', network={{_base_.unet}}),
    diffusion_scheduler=dict(type='EDMHeunScheduler'),
    num_inference_steps=10,
)

weights = dict(unet='bundled://emoji-32x32-64x64_upsampler.safetensors')
