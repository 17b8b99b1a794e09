# Trains the upsampler of drawings.
_base_ = ['./edm_1xb256_emoji-32x32.py', './_base_/models/edm-u_emoji-32x32-64x64.py']

model = dict(
    type='UpsamplerTraining',
    unet=dict(_delete_=True, type='EDMPrecond', network={{_base_.upsampler}}),
    low_res_size=32,
    max_blur=0.5,
    max_noise=0.1,
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='DrawEmoji', image_size=64, mirror_prob=0.5),
                dict(type='PackTrainingImage'),
            ]
        )
    ),
)
custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.999,), ramp_up=0.1),
]
