_base_ = ['../models/plain_emoji-32x32.py']

# Samples are compared with the drawings that were held out, as the judge sees them.
# Of these the file has features, not the images.
test_dataloader = dict(
    batch_size=250,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='SampleSpecs',
        _scope_='mmagic_adm',
        num_samples=1000,
        labels='uniform',
        num_classes=8,
    ),
)
test_cfg = dict(type='SamplingLoop', _scope_='mmagic_adm')
test_evaluator = dict(
    type='SampleEvaluator',
    _scope_='mmagic_adm',
    reference='bundled://emoji-32x32_held-out.npz',
    features=dict(
        type='PlainClassifierFeatures',
        classifier={{_base_.plain}},
        weights='bundled://emoji-32x32_judge.safetensors',
    ),
    metrics=[
        dict(type='ClassifierAccuracy'),
        dict(type='FrechetInceptionDistance'),
        dict(type='PrecisionRecall'),
    ],
)
