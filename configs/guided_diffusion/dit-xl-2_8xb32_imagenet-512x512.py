# DiT's training: AdamW at 1e-4 throughout, batches of 256, images mirrored at random, a label in
# ten dropped. Latents are encoded once and kept, 336 GB of them; the original encodes every step.
_base_ = [
    './_base_/schedules/adm.py',
    './_base_/datasets/imagenet.py',
    './_base_/models/dit-xl-2_imagenet-512x512.py',
    './_base_/evaluation/imagenet-512x512.py',
]

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.unet}},
    codec={{_base_.codec}},
    diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='linear', clip_sample=False),
    num_inference_steps=25,
    loss_type='mse',
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='LatentImages',
            folder='data/imagenet_latents-512x512',
            codec={{_base_.codec}},
            images=dict(
                type='ImageNet',
                data_root='data/imagenet',
                data_prefix='train',
                pipeline=[dict(type='ReadImage'), dict(type='CenterSquare', size=512)],
            ),
        )
    )
)
optim_wrapper = dict(dtype='bfloat16')
train_cfg = dict(max_iters=3_000_000)
val_evaluator = dict(reference={{_base_.test_evaluator.reference}})
