# Published: FID 5.22.
_base_ = ['./cm_step1_8xb32_lsun-bedroom-256x256_cd-lpips.py']

model = dict(num_inference_steps='0,17,39')
