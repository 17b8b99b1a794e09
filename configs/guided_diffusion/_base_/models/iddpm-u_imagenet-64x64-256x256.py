_base_ = ['./adm-u_imagenet-64x64-256x256.py']

unet = dict(attention_resolutions=(16, 8), channel_mult=(1, 1, 2, 2, 4, 4), resblock_updown=False)
