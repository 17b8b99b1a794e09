_base_ = ['./cm_step1_8xb32_imagenet-64x64_cd-lpips.py']

weights = dict(unet='cd_imagenet64_l2')
