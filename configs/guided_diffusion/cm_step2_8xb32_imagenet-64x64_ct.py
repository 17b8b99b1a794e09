# Published: FID 11.1.
_base_ = ['./cm_step1_8xb32_imagenet-64x64_ct.py']

model = dict(diffusion_scheduler=dict(num_scales=201), num_inference_steps='0,106,200')
