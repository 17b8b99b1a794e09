# Published: FID 4.70.
_base_ = ['./cm_step1_8xb32_imagenet-64x64_cd-lpips.py']

model = dict(num_inference_steps='0,22,39')
