# How the upsamplers were trained (ADM, table 13): as the networks that denoise, at their batch and
# learning rate. Without small images to enlarge there is nothing to sample on the way.
_base_ = ['./adm.py']

custom_hooks = [
    dict(type='StopOnNaN'),
    dict(type='TrainingState'),
    dict(type='MovingAverages', rates=(0.9999,)),
]
val_dataloader = None
val_cfg = None
val_evaluator = None
