# Trains the noise-aware classifier that ships with the package.
_base_ = [
    '../guided_diffusion/_base_/schedules/runtime.py',
    './_base_/models/adm_digits-16x16.py',
    './_base_/models/classifier_digits-16x16.py',
    './_base_/datasets/digits.py',
]

model = dict(
    type='ClassifierTraining',
    _scope_='mmagic_adm',
    classifier={{_base_.classifier}},
    diffusion_scheduler=dict(type='DDIMScheduler', **_base_.diffusion),
)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='EnlargeScan', image_size=16, max_shift=0.6),
                dict(type='PackTrainingImage'),
            ]
        )
    ),
)

max_iters = 1000
train_cfg = dict(type='TrainingLoop', max_iters=max_iters, val_interval=250)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='LinearLR', start_factor=1, end_factor=0, by_epoch=False, begin=0, end=max_iters),
]

val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='HandwrittenDigits',
        split='held_out',
        pipeline=[
            dict(type='EnlargeScan', image_size=16),
            dict(type='PackTrainingImage'),
        ],
    ),
)
val_cfg = dict()
val_evaluator = dict(type='NoisyAccuracy')

default_hooks = dict(checkpoint=dict(interval=250))
