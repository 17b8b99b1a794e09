_base_ = [
    './_base_/schedules/classifier.py',
    './_base_/datasets/imagenet.py',
    './_base_/models/classifier_imagenet-64x64.py',
]

model = dict(
    type='ClassifierTraining',
    _scope_='mmagic_adm',
    classifier={{_base_.classifier}},
    diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='cosine'),
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='ReadImage'),
                dict(type='RandomSquare', size=64),
                dict(type='RandomMirror'),
                dict(type='PackTrainingImage'),
            ]
        )
    )
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='ReadImage'),
            dict(type='CenterSquare', size=64),
            dict(type='PackTrainingImage'),
        ]
    )
)
# At this size alone weights decay by 0.2, at a learning rate of 6e-4 (ADM, table 12). The paper's
# batches are of 1024: four iterations make a step, of 300,000.
max_iters = 1_200_000
optim_wrapper = dict(optimizer=dict(lr=6e-4, weight_decay=0.2), accumulative_counts=4)
train_cfg = dict(max_iters=max_iters)
param_scheduler = dict(end=max_iters)
