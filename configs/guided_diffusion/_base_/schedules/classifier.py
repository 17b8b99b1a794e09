# How the classifiers were trained (ADM, table 12): AdamW with weight decay, annealed to nothing
# over the training, on batches of 256.
_base_ = ['./runtime.py']

max_iters = 300_000
train_cfg = dict(type='TrainingLoop', max_iters=max_iters, val_interval=10_000)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='float16',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.05),
)
param_scheduler = dict(
    type='LinearLR', start_factor=1, end_factor=0, by_epoch=False, begin=0, end=max_iters
)

val_dataloader = dict(
    batch_size=32,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageNet',
        data_root='data/imagenet',
        data_prefix='val',
        ann_file='meta/val.txt',
    ),
)
val_cfg = dict()
val_evaluator = dict(type='NoisyAccuracy')
