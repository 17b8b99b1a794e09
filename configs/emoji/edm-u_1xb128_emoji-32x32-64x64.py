# Trains the upsampler of drawings.
_base_ = [
    './_base_/schedules/edm.py',
    './_base_/models/edm-u_emoji-32x32-64x64.py',
    './_base_/datasets/emoji.py',
]

model = dict(
    type='UpsamplerTraining',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}),
    diffusion_scheduler=dict(type='EDMHeunScheduler'),
    loss=dict(type='EDMLoss', P_mean=-1.2, P_std=1.2),
    low_res_size=32,
    max_blur=0.5,
    max_noise=0.1,
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='DrawEmoji', image_size=64, mirror_prob=0.5),
                dict(type='PackTrainingImage'),
            ]
        )
    ),
)

max_iters = 800
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=200, end=max_iters),
]
