_base_ = [
    './adm_ddim25_digits-16x16.py',
    './_base_/models/classifier_digits-16x16.py',
    './_base_/models/discriminator_digits-16x16.py',
]

model = dict(
    guidance=dict(
        type='DiscriminatorGuidance',
        discriminator=dict(classifier={{_base_.classifier}}, **_base_.discriminator),
    )
)

weights = {'guidance.classifier': 'bundled://digits-16x16_discriminator.safetensors'}
