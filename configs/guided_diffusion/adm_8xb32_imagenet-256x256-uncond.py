_base_ = [
    './_base_/schedules/adm.py',
    './_base_/datasets/imagenet-256x256.py',
    './_base_/models/adm_imagenet-256x256-uncond.py',
    './_base_/evaluation/imagenet-256x256-uncond.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(_base_.unet, use_checkpoint=True),
    diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='linear'),
    num_inference_steps=25,
)
train_cfg = dict(max_iters=1_980_000)
val_dataloader = dict(dataset=dict(labels=None))
val_evaluator = dict(reference={{_base_.test_evaluator.reference}})
