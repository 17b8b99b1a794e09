# Improved diffusion: four heads in every attention, and layers of their own to change the size.
unet = dict(
    type='ADMUNet',
    image_size=64,
    model_channels=128,
    out_channels=6,
    num_res_blocks=3,
    attention_resolutions=(16, 8),
    num_heads=4,
    resblock_updown=False,
)
