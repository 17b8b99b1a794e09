# Trains a classifier of drawings without noise, for off-the-shelf guidance.
_base_ = ['./judge_1xb128_emoji-32x32.py']

train_dataloader = dict(dataset=dict(dataset=dict(split='train')))
val_dataloader = dict(dataset=dict(split='held_out'))
