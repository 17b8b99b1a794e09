# Led away, while there is much noise, from a narrower network that was trained for a quarter as
# long: of the last details that one knows too little.
_base_ = ['./edm_heun18_emoji-32x32.py']

model = dict(
    guidance=dict(
        type='ClassifierFreeGuidance',
        scale=1.0,
        interval=(500, 1000),
        other=dict(
            type='EDMPrecond',
            network=dict(_base_.unet, model_channels=16, num_head_channels=16),
        ),
    )
)

weights = {'guidance.other': 'bundled://emoji-32x32_unet-xs.safetensors'}
