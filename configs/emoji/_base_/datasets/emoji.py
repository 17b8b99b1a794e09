# Emoji drawings in colour; every fourth emoji is held out. To fetch them:
#   npm install --prefix data/emoji emoji-datasource-google@16.0.0 @lobehub/fluent-emoji-3d@1.1.0
train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='StreamSampler'),
    collate_fn=dict(type='stacked_images'),
    dataset=dict(
        type='TrainingStream',
        dataset=dict(
            type='Emoji',
            data_root='data/emoji/node_modules',
            split='train',
            balance=True,
            pipeline=[
                dict(type='DrawEmoji', image_size=32, mirror_prob=0.5),
                dict(type='PackTrainingImage'),
            ],
        ),
    ),
)
# For more variety: turned, stretched and slanted at twice the size, and so still sharp.
varied = [
    dict(type='DrawEmoji', image_size=64, mirror_prob=0.5),
    dict(type='RandomAffine', turn=0.03, stretch=0.03, slant=0.03, fill=255),
    dict(type='CenterSquare', size=32),
    dict(type='PackTrainingImage'),
]
held_out_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='Emoji',
        data_root='data/emoji/node_modules',
        split='held_out',
        pipeline=[
            dict(type='DrawEmoji', image_size=32),
            dict(type='PackTrainingImage'),
        ],
    ),
)
