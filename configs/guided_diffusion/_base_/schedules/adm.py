# How the denoising networks were trained (ADM, table 11): AdamW, no annealing, half precision, and
# an average at 0.9999. Batches are of 256: 8 GPUs with 32 images each. On GPUs with less memory,
# batch_size=8 with accumulative_counts=4 comes to the same, at four times the max_iters.
_base_ = ['./runtime.py']

train_cfg = dict(type='TrainingLoop', val_interval=50_000)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='float16',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0),
)
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.9999,)),
    dict(type='SampleSheet', interval=10_000, num_samples=16),
]

# FID on the way, of fewer samples and steps than published figures take: good to compare one
# checkpoint with another. A training names the reference.
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='SampleSpecs', num_samples=5000),
)
val_cfg = dict()
val_evaluator = dict(
    type='SampleEvaluator',
    features=dict(type='InceptionFeatures'),
    metrics=[dict(type='FrechetInceptionDistance')],
)
