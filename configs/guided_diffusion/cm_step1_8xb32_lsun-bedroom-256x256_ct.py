# Published: FID 16.0.
_base_ = ['./cm_step1_8xb32_lsun-bedroom-256x256_cd-lpips.py']

weights = dict(unet='ct_bedroom256')
