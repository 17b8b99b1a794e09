# Published: FID 11.7.
_base_ = ['./cm_step1_8xb32_lsun-cat-256x256_ct.py']

model = dict(diffusion_scheduler=dict(num_scales=151), num_inference_steps='0,62,150')
