# ImageNet's training images, in a folder for each class. The pipeline is left to others: the files
# beside this one have that of the networks that denoise, each classifier's training its own.
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='TrainingStream',
        max_unreadable=100,
        dataset=dict(type='ImageNet', data_root='data/imagenet', data_prefix='train'),
    ),
)
