# EDM's training of the network (EDM, appendix F.1): batches of 4096, 2.5 billion images.
_base_ = [
    './_base_/schedules/adm.py',
    './_base_/datasets/imagenet.py',
    './_base_/models/edm_imagenet-64x64.py',
    './_base_/evaluation/imagenet-64x64.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}),
    diffusion_scheduler=dict(type='EDMHeunScheduler'),
    num_inference_steps=18,
    loss=dict(type='EDMLoss', P_mean=-1.2, P_std=1.2),
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

# Sixteen iterations make a step, of 610,352. The learning rate rises over 10 million images; the
# average has a half-life of 50 million, or of a twentieth of those seen so far. EDM's loss is a
# hundred times the sum over an image, this one its mean: what Adam adds to the root of its second
# moment is as much smaller.
optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=1e-4, eps=1e-14),
    accumulative_counts=16,
)
param_scheduler = dict(
    type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=10_000_000 // 256
)
train_cfg = dict(max_iters=9_765_632)
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.5 ** (4096 / 50_000_000),), ramp_up=0.05),
    dict(type='SampleSheet', interval=10_000, num_samples=16),
]

reference = 'https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/imagenet-64x64.npz'
val_evaluator = dict(reference=reference)
test_evaluator = dict(
    reference=reference,
    metrics=[dict(type='InceptionScore'), dict(type='FrechetInceptionDistance')],
)
