# EDM2's network of size S, without the preconditioning around it.
unet = dict(
    type='EDM2UNet',
    image_size=64,
    model_channels=192,
    num_classes=1000,
    dropout=0.0,
)
