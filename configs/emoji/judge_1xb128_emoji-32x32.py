# Trains the judge of the samples: another kind of network, on drawings that no other has seen.
_base_ = [
    '../guided_diffusion/_base_/schedules/runtime.py',
    './_base_/models/plain_emoji-32x32.py',
    './_base_/datasets/emoji.py',
]

model = dict(
    type='ClassifierTraining',
    _scope_='mmagic_adm',
    classifier={{_base_.plain}},
    label_smoothing=0.05,
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        dataset=dict(
            split='held_out',
            pipeline=[
                dict(type='DrawEmoji', image_size=64, mirror_prob=0.5),
                dict(type='RandomAffine', turn=0.08, stretch=0.1, slant=0.08, fill=255),
                dict(type='CenterSquare', size=32),
                dict(type='RandomGrain', max_std=12.75),
                dict(type='PackTrainingImage'),
            ],
        )
    ),
)

max_iters = 750
train_cfg = dict(type='TrainingLoop', max_iters=max_iters, val_interval=250)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=200, end=max_iters),
]

val_dataloader = dict(
    _base_.held_out_dataloader,
    dataset=dict(_base_.held_out_dataloader.dataset, split='train'),
)
val_cfg = dict()
val_evaluator = dict(type='NoisyAccuracy')

default_hooks = dict(checkpoint=dict(interval=250))
