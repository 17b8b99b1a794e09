# An off-the-shelf ResNet on what the latents are decoded to, at the settings that were published
# for pixels of 128x128. For DiT no figures were published.
_base_ = ['./dit-xl-2_ddpm250_8xb32_imagenet-512x512.py']

model = dict(
    guidance=dict(
        type='OffTheShelfGuidance',
        classifier=dict(type='TorchvisionClassifier', name='resnet101', weights='IMAGENET1K_V2'),
        scale=1.0,
        softplus_beta=3.0,
        joint_temperature=1.0,
        margin_temperature_discount=0.5,
        gamma_factor=0.3,
    ),
)
