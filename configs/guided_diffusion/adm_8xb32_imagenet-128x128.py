_base_ = [
    './_base_/schedules/adm.py',
    './_base_/datasets/imagenet-128x128.py',
    './_base_/models/adm_imagenet-128x128.py',
    './_base_/evaluation/imagenet-128x128.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='linear'),
    num_inference_steps=25,
)
train_cfg = dict(max_iters=4_360_000)
val_evaluator = dict(reference={{_base_.test_evaluator.reference}})
