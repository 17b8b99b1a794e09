# Latents of ImageNet's training images and of their mirror images, encoded once and kept, where
# DiT's authors encode in every step. A training names folder, codec, and the images' size.
_base_ = ['./imagenet.py']

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='LatentImages',
            images=dict(type='ImageNet', data_root='data/imagenet', data_prefix='train'),
        )
    )
)
