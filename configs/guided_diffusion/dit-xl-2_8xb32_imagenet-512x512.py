# DiT's training at 512 pixels. The latents that it keeps take 336 GB.
_base_ = [
    './_base_/schedules/dit.py',
    './_base_/datasets/imagenet-latents.py',
    './_base_/models/dit-xl-2_imagenet-512x512.py',
    './_base_/evaluation/imagenet-512x512.py',
]

model = dict(unet={{_base_.unet}}, codec={{_base_.codec}})
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            folder='data/imagenet_latents-512x512',
            codec={{_base_.codec}},
            images=dict(pipeline=[dict(type='ReadImage'), dict(type='CenterSquare', size=512)]),
        )
    )
)
train_cfg = dict(max_iters=3_000_000)
val_evaluator = dict(reference={{_base_.test_evaluator.reference}})
