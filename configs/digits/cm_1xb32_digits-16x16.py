# Tunes the digits' network to two steps: it learns to say where its own guided way ends, and the
# scale of the guidance, 1, is in its weights from then on (Consistency Models, algorithm 2).
_base_ = [
    '../guided_diffusion/_base_/schedules/runtime.py',
    './_base_/models/cm_digits-16x16.py',
    './_base_/datasets/digits.py',
]

weights = 'bundled://digits-16x16_unet.safetensors'
model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    # Nothing is dropped. The null class keeps its row in the file, and does not learn.
    unet=dict(
        _base_.consistency,
        network=dict(_base_.consistency.network, dropout=0.0, class_dropout_prob=1e-9),
    ),
    diffusion_scheduler={{_base_.sampler}},
    num_inference_steps='0,6,11',
    loss=dict(
        type='ConsistencyLoss',
        teacher=dict(
            type='AblatedDiffusionModel',
            unet={{_base_.unet}},
            diffusion_scheduler=dict(type='DDIMScheduler', **_base_.diffusion),
            guidance=dict(type='ClassifierFreeGuidance', scale=1.0),
            pretrained_cfgs=dict(unet=dict(ckpt_path=weights)),
        ),
        pairs=dict(type='Scales', start=12, start_rate=0.9, sigma_min=0.04, sigma_max=16.0),
        solver='euler',
        norm='huber',
        c=0.03,
    ),
    # The last layer has another meaning: it told the noise and a variance.
    pretrained_cfgs=dict(unet=dict(ckpt_path=weights, ignore=['out.2'])),
)

max_iters = 800
train_cfg = dict(type='TrainingLoop', max_iters=max_iters)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.03, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=30, end=max_iters),
]

default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=100))
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.99,)),
]
