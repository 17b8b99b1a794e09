# EDM2's training of size S: batches of 2048, 1024 Mi images, with averages of two widths, of which
# that of any other can be made once it is over.
_base_ = [
    './_base_/schedules/adm.py',
    './_base_/datasets/imagenet.py',
    './_base_/models/edm2-s_imagenet-64x64.py',
    './_base_/evaluation/imagenet-64x64.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}),
    diffusion_scheduler=dict(type='EDMHeunScheduler'),
    num_inference_steps=32,
    loss=dict(type='EDM2Loss', P_mean=-0.8, P_std=1.6),
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='ReadImage'),
                dict(type='CenterSquare', size=64),
                dict(type='PackTrainingImage'),
            ]
        )
    )
)

# Eight iterations make a step. The learning rate rises over 10 million images, and falls from step
# 35,000 on. EDM2's loss is the sum over an image, this one its mean: what Adam adds to the root of
# its second moment is as much smaller.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=0.01, betas=(0.9, 0.99), eps=8e-13),
    accumulative_counts=8,
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=10_000_000 // 256),
    dict(type='InverseSqrtLR', flat=8 * 35_000, by_epoch=False),
]
train_cfg = dict(max_iters=1024 * 2**20 // 256)
default_hooks = dict(checkpoint=dict(interval=8 * 2**20 // 256, max_keep_ckpts=-1))
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.9999,), stds=(0.05, 0.1)),
    dict(type='SampleSheet', interval=10_000, num_samples=16),
]
val_evaluator = dict(reference='https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/imagenet-64x64.npz')
