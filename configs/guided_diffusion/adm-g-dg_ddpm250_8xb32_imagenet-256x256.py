# Published: FID 3.18, with the classifier alone 4.59. The discriminator was not released; train one
# by discriminator_8xb64_imagenet-256x256.py.
_base_ = [
    './adm-g_ddpm250_8xb32_imagenet-256x256.py',
    './_base_/models/discriminator_imagenet-256x256.py',
]

model = dict(
    guidance=dict(
        type='SumGuidance',
        sources=[
            dict(type='ClassifierGuidance'),
            dict(
                type='DiscriminatorGuidance',
                discriminator=dict(classifier={{_base_.classifier}}, **_base_.discriminator),
                interval=(101, 1000),
            ),
        ],
    )
)

weights = {
    'guidance.sources.1.classifier': (
        'work_dirs/discriminator_8xb64_imagenet-256x256/iter_50000.pth'
    ),
}
