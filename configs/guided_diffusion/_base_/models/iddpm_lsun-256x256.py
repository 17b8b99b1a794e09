_base_ = ['./iddpm_imagenet-64x64-uncond.py']

unet = dict(
    image_size=256,
    num_res_blocks=2,
    attention_resolutions=(16,),
    channel_mult=(1, 1, 2, 2, 4, 4),
    num_heads=1,
    use_scale_shift_norm=False,
)
