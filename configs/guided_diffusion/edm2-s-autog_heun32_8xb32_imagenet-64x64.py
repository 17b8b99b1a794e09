# Published: FID 1.01. S is guided by a shorter training of XS, each averaged over its own length.
_base_ = ['./edm2-s_heun32_8xb32_imagenet-64x64.py']

model = dict(
    guidance=dict(
        type='ClassifierFreeGuidance',
        scale=0.7,
        other=dict(type='EDMPrecond', network=dict(_base_.unet, model_channels=128)),
    )
)

weights = {
    'unet': 'edm2-img64-s-1073741-0.045',
    'guidance.other': 'edm2-img64-xs-0134217-0.110',
}
