# AdamW, annealed to nothing, and an average that forgets the beginning.
_base_ = ['../../../guided_diffusion/_base_/schedules/runtime.py']

max_iters = 1250
train_cfg = dict(type='TrainingLoop', max_iters=max_iters)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=200, end=max_iters),
]

default_hooks = dict(checkpoint=dict(interval=250))
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.999,), ramp_up=0.1),
]
