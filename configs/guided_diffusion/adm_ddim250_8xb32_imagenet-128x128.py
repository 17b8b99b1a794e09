_base_ = ['./adm_ddpm250_8xb32_imagenet-128x128.py']

model = dict(diffusion_scheduler=dict(type='DDIMScheduler'))
