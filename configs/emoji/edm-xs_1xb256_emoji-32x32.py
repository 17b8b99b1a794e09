# Trains a worse U-Net, narrower and not for as long, for the other to be led away from.
_base_ = ['./edm_1xb256_emoji-32x32.py']

train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.varied}})))
model = dict(unet=dict(network=dict(model_channels=16, num_head_channels=16)))

max_iters = 360
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=200, end=max_iters),
]
