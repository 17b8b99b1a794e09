# Trains the judge of the samples: another kind of network, on scans that no other has seen.
_base_ = [
    '../guided_diffusion/_base_/schedules/runtime.py',
    './_base_/datasets/digits.py',
]

model = dict(
    type='ClassifierTraining',
    _scope_='mmagic_adm',
    classifier=dict(type='PlainClassifier'),
    label_smoothing=0.05,
)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        dataset=dict(
            split='held_out',
            pipeline=[
                dict(type='EnlargeScan', image_size=16, max_shift=0.6),
                dict(type='RandomAffine', turn=0.12, stretch=0.07, slant=0.12),
                dict(type='RandomGrain', max_std=12.75),
                dict(type='PackTrainingImage'),
            ],
        )
    ),
)

max_iters = 2000
train_cfg = dict(type='TrainingLoop', max_iters=max_iters, val_interval=500)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=500, end=max_iters),
]

val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='HandwrittenDigits',
        split='train',
        pipeline=[
            dict(type='EnlargeScan', image_size=16),
            dict(type='PackTrainingImage'),
        ],
    ),
)
val_cfg = dict()
val_evaluator = dict(type='NoisyAccuracy')

default_hooks = dict(checkpoint=dict(interval=500))
