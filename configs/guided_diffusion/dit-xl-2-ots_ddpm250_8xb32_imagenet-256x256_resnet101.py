# An off-the-shelf ResNet on what the latents are decoded to, at the settings that were published
# for pixels of 128x128. For DiT no figures were published.
_base_ = [
    './dit-xl-2_ddpm250_8xb32_imagenet-256x256.py',
    './_base_/guidance/off-the-shelf.py',
]

model = dict(guidance={{_base_.guidance}})
