# Tells made digits from real ones, by what the noise-aware classifier sees.
_base_ = ['./classifier_digits-16x16.py']

discriminator = dict(
    type='ADMDiscriminator',
    classifier={{_base_.classifier}},
    num_classes=10,
    model_channels=32,
    num_res_blocks=1,
    num_head_channels=32,
)
