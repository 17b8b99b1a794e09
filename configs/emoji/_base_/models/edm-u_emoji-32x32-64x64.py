# The U-Net that enlarges drawings, without the preconditioning around it.
unet = dict(
    type='ADMSuperResolutionUNet',
    image_size=64,
    model_channels=24,
    out_channels=3,
    num_res_blocks=1,
    attention_resolutions=(),
    channel_mult=(1, 2, 2, 4),
    num_classes=8,
    min_group_channels=8,
)
