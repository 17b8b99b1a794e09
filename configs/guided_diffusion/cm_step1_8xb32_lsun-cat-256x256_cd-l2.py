_base_ = ['./cm_step1_8xb32_lsun-cat-256x256_cd-lpips.py']

weights = dict(unet='cd_cat256_l2')
