# DiT-XL/2, which diffuses the latents of Stable Diffusion's autoencoder.
unet = dict(
    type='DiT',
    image_size=32,
    size='XL',
    patch_size=2,
    num_classes=1000,
    class_dropout_prob=0.1,
)
codec = dict(type='AutoencoderCodec', image_size=256, weights='sd-vae-ft-ema')
