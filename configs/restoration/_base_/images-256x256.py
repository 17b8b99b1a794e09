# Images to restore and to compare with, 256x256, in a folder of your own:
#   --cfg-options test_dataloader.dataset.images.data_root=FOLDER test_evaluator.reference=FOLDER
# Another task is another operator, such as test_dataloader.dataset.operator.type=MotionBlur.
images = 'data/restore-256x256'
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='MeasuredImages',
        _scope_='mmagic_adm',
        images=dict(
            type='ImageFolder',
            data_root=images,
            label_from='nothing',
            pipeline=[dict(type='ReadImage')],
        ),
        operator=dict(type='Downsampling', factor=4, kernel='bicubic'),
    ),
)
test_cfg = dict(type='SamplingLoop', _scope_='mmagic_adm')
test_evaluator = dict(
    type='SampleEvaluator',
    _scope_='mmagic_adm',
    reference=images,
    features=dict(type='InceptionFeatures'),
    metrics=[dict(type='Fidelity'), dict(type='LPIPS'), dict(type='FrechetInceptionDistance')],
)
