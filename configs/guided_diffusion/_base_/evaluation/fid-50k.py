# 50,000 samples, which published figures are of, and the figures that the family reports. A file
# of each dataset adds the reference batch. To change on the command line, for instance:
#   --cfg-options test_dataloader.batch_size=128 test_evaluator.reference=my_reference.npz
test_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='SampleSpecs', _scope_='mmagic_adm', num_samples=50_000),
)
test_cfg = dict(type='SamplingLoop', _scope_='mmagic_adm')
test_evaluator = dict(
    type='SampleEvaluator',
    _scope_='mmagic_adm',
    features=dict(type='InceptionFeatures'),
    metrics=[
        dict(type='InceptionScore'),
        dict(type='FrechetInceptionDistance'),
        dict(type='SpatialFrechetInceptionDistance'),
        dict(type='PrecisionRecall'),
    ],
)
