# Guided by a classifier that was never shown noise.
_base_ = ['./edm_heun18_emoji-32x32.py']

model = dict(
    guidance=dict(
        type='OffTheShelfGuidance',
        classifier={{_base_.plain}},
        scale=2.0,
        softplus_beta=5.0,
    )
)

weights = {'guidance.classifier': 'bundled://emoji-32x32_clean.safetensors'}
