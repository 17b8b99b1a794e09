# Tells made images from real ones, by what the classifier beside it sees.
discriminator = dict(
    type='ADMDiscriminator',
    num_classes=1000,
    model_channels=128,
    num_res_blocks=2,
    num_head_channels=64,
)
