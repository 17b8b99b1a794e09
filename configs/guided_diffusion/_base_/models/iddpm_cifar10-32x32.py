_base_ = ['./iddpm_imagenet-64x64-uncond.py']

unet = dict(image_size=32, dropout=0.3)
