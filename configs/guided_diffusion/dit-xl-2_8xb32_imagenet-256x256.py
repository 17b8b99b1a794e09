# DiT's training at 256 pixels. The latents that it keeps take 84 GB.
_base_ = [
    './_base_/schedules/dit.py',
    './_base_/datasets/imagenet-latents.py',
    './_base_/models/dit-xl-2_imagenet-256x256.py',
    './_base_/evaluation/imagenet-256x256.py',
]

model = dict(unet={{_base_.unet}}, codec={{_base_.codec}})
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            folder='data/imagenet_latents-256x256',
            codec={{_base_.codec}},
            images=dict(pipeline=[dict(type='ReadImage'), dict(type='CenterSquare', size=256)]),
        )
    )
)
train_cfg = dict(max_iters=7_000_000)
val_evaluator = dict(reference={{_base_.test_evaluator.reference}})
