# Published: FID 20.7.
_base_ = ['./cm_step1_8xb32_lsun-cat-256x256_cd-lpips.py']

weights = dict(unet='ct_cat256')
