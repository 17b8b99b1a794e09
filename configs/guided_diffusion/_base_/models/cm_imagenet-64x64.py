# The network of consistency models, without the preconditioning around it.
unet = dict(
    type='ADMUNet',
    image_size=64,
    model_channels=192,
    out_channels=3,
    num_res_blocks=3,
    attention_resolutions=(32, 16, 8),
    num_classes=1000,
    num_head_channels=64,
    use_new_attention_order=True,
)
