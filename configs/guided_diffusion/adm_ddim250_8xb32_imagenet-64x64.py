# Published: FID 3.2284, by MMagic.
_base_ = ['./adm_ddpm250_8xb32_imagenet-64x64.py']

model = dict(diffusion_scheduler=dict(type='DDIMScheduler'))
