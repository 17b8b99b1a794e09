# Tells made digits from real ones, by what the classifier beside it sees.
discriminator = dict(
    type='ADMDiscriminator',
    num_classes=10,
    model_channels=32,
    num_res_blocks=1,
    num_head_channels=32,
)
