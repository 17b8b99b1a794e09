_base_ = ['./cm_step1_8xb32_lsun-bedroom-256x256_cd-lpips.py']

weights = dict(unet='cd_bedroom256_l2')
