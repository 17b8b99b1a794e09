_base_ = [
    './_base_/schedules/adm.py',
    './_base_/datasets/imagenet-64x64.py',
    './_base_/models/adm_imagenet-64x64.py',
    './_base_/evaluation/imagenet-64x64.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='cosine'),
    num_inference_steps=25,
)
# The paper's batches at this size are of 2048: eight iterations make a step, of 540,000.
optim_wrapper = dict(optimizer=dict(lr=3e-4), accumulative_counts=8)
train_cfg = dict(max_iters=4_320_000)
val_evaluator = dict(reference={{_base_.test_evaluator.reference}})
