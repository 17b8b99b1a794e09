# Trains the noise-aware classifier of drawings.
_base_ = [
    '../guided_diffusion/_base_/schedules/runtime.py',
    './_base_/models/classifier_emoji-32x32.py',
    './_base_/datasets/emoji.py',
]

model = dict(
    type='ClassifierTraining',
    _scope_='mmagic_adm',
    classifier={{_base_.classifier}},
    diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='cosine'),
)
train_dataloader = dict(batch_size=128, dataset=dict(dataset=dict(pipeline={{_base_.varied}})))

max_iters = 3500
train_cfg = dict(type='TrainingLoop', max_iters=max_iters, val_interval=500)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=50, end=max_iters),
]

val_dataloader = {{_base_.held_out_dataloader}}
val_cfg = dict()
val_evaluator = dict(type='NoisyAccuracy')

default_hooks = dict(checkpoint=dict(interval=500))
