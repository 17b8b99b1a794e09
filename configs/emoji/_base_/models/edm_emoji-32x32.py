# The U-Net under EDM's preconditioning. It knows a null class, for classifier-free guidance.
unet = dict(
    type='EDMPrecond',
    network=dict(
        type='ADMUNet',
        image_size=32,
        model_channels=24,
        out_channels=3,
        num_res_blocks=1,
        attention_resolutions=(8,),
        channel_mult=(1, 2, 4),
        num_classes=8,
        dropout=0.05,
        num_head_channels=24,
        use_new_attention_order=True,
        class_dropout_prob=0.1,
        min_group_channels=8,
    ),
)
