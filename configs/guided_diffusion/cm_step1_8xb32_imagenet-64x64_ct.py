# Published: FID 13.0.
_base_ = ['./cm_step1_8xb32_imagenet-64x64_cd-lpips.py']

weights = dict(unet='ct_imagenet64')
