# The network of consistency models, without the preconditioning around it.
unet = dict(
    type='ADMUNet',
    image_size=256,
    out_channels=3,
    attention_resolutions=(32, 16, 8),
    num_head_channels=64,
    use_scale_shift_norm=False,
    use_new_attention_order=True,
)
