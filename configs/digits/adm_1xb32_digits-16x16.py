# Trains the U-Net that ships with the package.
_base_ = [
    '../guided_diffusion/_base_/schedules/runtime.py',
    './_base_/models/adm_digits-16x16.py',
    './_base_/datasets/digits.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    diffusion_scheduler=dict(type='DDIMScheduler', **_base_.diffusion),
)

max_iters = 5000
train_cfg = dict(type='TrainingLoop', max_iters=max_iters)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=100, end=max_iters),
]

default_hooks = dict(checkpoint=dict(interval=1000))
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.998,)),
]
