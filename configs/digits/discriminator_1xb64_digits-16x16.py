# Trains the discriminator that ships with the package, on samples of the U-Net's; to make them:
#   mmagic-adm sample adm_ddim25_digits-16x16 --num-samples 1200 --steps 5 --out outputs/made
_base_ = [
    './classifier_1xb64_digits-16x16.py',
    './_base_/models/discriminator_digits-16x16.py',
]

model = dict(
    classifier=dict(_delete_=True, classifier={{_base_.classifier}}, **_base_.discriminator),
    weights=dict(classifier='bundled://digits-16x16_classifier.safetensors'),
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='RealAndMade',
            # As the U-Net saw them.
            real=dict(
                type='HandwrittenDigits',
                split='train',
                pipeline=[
                    dict(type='EnlargeScan', image_size=16, max_shift=0.5),
                    dict(type='PackTrainingImage'),
                ],
            ),
            made=dict(
                type='NpzImages',
                ann_file='outputs/made/samples.npz',
                pipeline=[dict(type='PackTrainingImage')],
            ),
        )
    )
)

max_iters = 900
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=2e-3, weight_decay=1e-7))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1, end_factor=0, by_epoch=False, begin=0, end=max_iters)
]
val_dataloader = None
val_cfg = None
val_evaluator = None
