_base_ = ['./adm-g_ddim25_8xb32_imagenet-64x64.py']

model = dict(
    diffusion_scheduler=dict(type='DiffusersScheduler', type_='UniPCMultistepScheduler'),
    num_inference_steps=10,
)
