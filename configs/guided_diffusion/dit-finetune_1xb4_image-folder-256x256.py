# Fine-tuning DiT on one's own images, from the released network to a folder with a subfolder for
# each class. Everything but the classes' table starts from the released weights, which come under
# CC BY-NC 4.0. A training of one's own is a file of a few lines beside this one:
#
#   _base_ = ['./dit-finetune_1xb4_image-folder-256x256.py']
#   model = dict(unet=dict(num_classes=5))
#   train_dataloader = dict(
#       dataset=dict(dataset=dict(folder='my_latents', images=dict(data_root='my_images')))
#   )
_base_ = ['./finetune_1xb4_image-folder-256x256.py']

codec = dict(type='AutoencoderCodec', image_size=256, weights='sd-vae-ft-ema')
model = dict(
    unet=dict(
        _delete_=True,
        type='DiT',
        image_size=32,
        num_classes=10,
        class_dropout_prob=0.1,
        use_checkpoint=True,
    ),
    codec=codec,
    diffusion_scheduler=dict(clip_sample=False),
    loss_type='mse',
    pretrained_cfgs=dict(unet=dict(ckpt_path='DiT-XL-2-256x256', ignore=['y_embedder'])),
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='LatentImages',
            folder='data/my_latents',
            codec=codec,
            images=dict(
                type='ImageFolder',
                data_root='data/my_images',
                pipeline=[dict(type='ReadImage'), dict(type='CenterSquare', size=256)],
            ),
        )
    )
)
