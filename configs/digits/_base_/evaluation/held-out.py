# Samples are compared with the scans that were held out, as the judge sees them.
test_dataloader = dict(
    batch_size=250,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='SampleSpecs',
        _scope_='mmagic_adm',
        num_samples=1000,
        labels='uniform',
        num_classes=10,
    ),
)
test_cfg = dict(type='SamplingLoop', _scope_='mmagic_adm')
test_evaluator = dict(
    type='SampleEvaluator',
    _scope_='mmagic_adm',
    reference='bundled://digits-16x16_held-out.npz',
    features=dict(
        type='PlainClassifierFeatures',
        classifier=dict(type='PlainClassifier'),
        weights='bundled://digits-16x16_judge.safetensors',
    ),
    metrics=[
        dict(type='ClassifierAccuracy'),
        dict(type='FrechetInceptionDistance'),
        dict(type='PrecisionRecall'),
    ],
)
