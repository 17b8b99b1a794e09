# Consistency distillation (Consistency Models, algorithm 2 and appendix C): batches of 2048, the
# distance l2 at first; LPIPS, of which the better figures are, is norm=dict(type='LPIPS').
_base_ = [
    './_base_/schedules/adm.py',
    './_base_/datasets/imagenet-64x64.py',
    './_base_/models/cm_imagenet-64x64.py',
    './_base_/evaluation/imagenet-64x64.py',
]

teacher = 'https://openaipublic.blob.core.windows.net/consistency/edm_imagenet64_ema.pt'
model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet=dict(type='EDMPrecond', network={{_base_.unet}}, sigma_min=0.002, c_noise=250.0),
    diffusion_scheduler=dict(type='ConsistencyScheduler'),
    num_inference_steps='0,22,39',
    loss=dict(
        type='ConsistencyLoss',
        teacher=dict(
            type='AblatedDiffusionModel',
            unet=dict(type='EDMPrecond', network={{_base_.unet}}, c_noise=250.0),
            diffusion_scheduler=dict(type='EDMHeunScheduler'),
            pretrained_cfgs=dict(unet=dict(ckpt_path=teacher)),
        ),
        pairs=dict(type='Scales', start=40, start_rate=0.95),
        norm='l2',
    ),
    pretrained_cfgs=dict(unet=dict(ckpt_path=teacher)),
)

# Eight iterations make a step, of 600,000.
train_cfg = dict(max_iters=4_800_000)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='RAdam', lr=8e-6), accumulative_counts=8)
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.999943,)),
    dict(type='SampleSheet', interval=10_000, num_samples=16),
]
val_evaluator = dict(reference={{_base_.test_evaluator.reference}})
