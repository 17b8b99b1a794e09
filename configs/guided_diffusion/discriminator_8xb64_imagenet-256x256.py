# Discriminator guidance's training, on ImageNet and as many samples of the guided model; to make
# them:
#   mmagic-adm sample adm-g_ddpm250_8xb32_imagenet-256x256 --num-samples 50000
#       --out outputs/made
_base_ = [
    './classifier_8xb32_imagenet-256x256.py',
    './_base_/models/discriminator_imagenet-256x256.py',
]

model = dict(
    classifier=dict(_delete_=True, classifier={{_base_.classifier}}, **_base_.discriminator),
    weights=dict(
        classifier='https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_classifier.pt'
    ),
    evenly_in='log_sigma',
)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='RealAndMade',
            real={{_base_.train_dataloader.dataset.dataset}},
            made=dict(
                type='NpzImages',
                ann_file='outputs/made/samples.npz',
                pipeline=[dict(type='PackTrainingImage')],
            ),
        )
    ),
)

max_iters = 50_000
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=3e-4, weight_decay=1e-7))
train_cfg = dict(max_iters=max_iters)
param_scheduler = None
val_dataloader = None
val_cfg = None
val_evaluator = None
