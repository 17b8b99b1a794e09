# Off-the-shelf guidance as its paper's code has it, with the settings published for 10 steps.
# Published: FID 3.38, and 3.64 without guidance.
_base_ = ['./edm_heun10_8xb32_imagenet-64x64.py']

model = dict(
    guidance=dict(
        type='SampleGuidance',
        source=dict(
            type='OffTheShelfGuidance',
            classifier='resnet101',
            softplus_beta=5.0,
            joint_temperature=1.0,
            margin_temperature_discount=0.0,
        ),
        max_guidance=0.004,
        add_factor=0.3,
    ),
)
