# Fine-tuning on one's own images, on one small GPU: from the released 256x256 network to a folder
# with a subfolder for each class. Everything but the classes' embedding starts from the released
# weights. A training of one's own is a file of three lines beside this one:
#
#   _base_ = ['./finetune_1xb4_image-folder-256x256.py']
#   model = dict(unet=dict(num_classes=5))
#   train_dataloader = dict(dataset=dict(dataset=dict(data_root='my_images')))
#
# What saves memory: gradient checkpointing, bfloat16, and steps of eight batches of four. With the
# package bitsandbytes, optim_wrapper = dict(optimizer=dict(type='AdamW8bit')) saves more.
_base_ = [
    './_base_/schedules/runtime.py',
    './_base_/models/adm_imagenet-256x256.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(_base_.unet, num_classes=10, use_checkpoint=True),
    diffusion_scheduler=dict(type='DDIMScheduler'),
    num_inference_steps=25,
    pretrained_cfgs=dict(
        unet=dict(
            ckpt_path='https://openaipublic.blob.core.windows.net/diffusion/jul-2021/'
            '256x256_diffusion.pt',
            ignore=['label_emb'],
        )
    ),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='TrainingStream',
        dataset=dict(
            type='ImageFolder',
            data_root='data/my_images',
            pipeline=[
                dict(type='ReadImage'),
                dict(type='RandomSquare', size=256),
                dict(type='RandomMirror'),
                dict(type='PackTrainingImage'),
            ],
        ),
    ),
)

train_cfg = dict(type='TrainingLoop', max_iters=40_000)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=2e-5, weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=8,
)
param_scheduler = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=1000)
default_hooks = dict(checkpoint=dict(interval=2000))
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.999,)),
    dict(type='SampleSheet', interval=2000, num_samples=16),
]
