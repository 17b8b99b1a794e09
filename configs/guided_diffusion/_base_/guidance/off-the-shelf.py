# A ResNet that was never shown noise, at the settings that were published for ADM at 128 pixels.
guidance = dict(
    type='OffTheShelfGuidance',
    classifier=dict(type='TorchvisionClassifier', name='resnet101', weights='IMAGENET1K_V2'),
    scale=1.0,
    softplus_beta=3.0,
    joint_temperature=1.0,
    margin_temperature_discount=0.5,
    gamma_factor=0.3,
)
