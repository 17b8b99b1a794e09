# ImageNet as the networks that denoise saw it: the middle square, mirrored at random.
_base_ = ['./imagenet.py']

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='ReadImage'),
                dict(type='CenterSquare', size=64),
                dict(type='RandomMirror'),
                dict(type='PackTrainingImage'),
            ]
        )
    )
)
