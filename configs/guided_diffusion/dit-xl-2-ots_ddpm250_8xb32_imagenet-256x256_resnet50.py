# The same with ResNet-50.
_base_ = ['./dit-xl-2-ots_ddpm250_8xb32_imagenet-256x256_resnet101.py']

model = dict(guidance=dict(classifier=dict(name='resnet50')))
