_base_ = ['./iddpm_imagenet-64x64-uncond.py']

unet = dict(model_channels=192, num_classes=1000)
