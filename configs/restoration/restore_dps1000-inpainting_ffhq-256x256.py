_base_ = ['./restore_dps1000_ffhq-256x256.py']

model = dict(restoration=dict(scale=0.5))
test_dataloader = dict(
    dataset=dict(operator=dict(_delete_=True, type='RandomInpainting', hidden=0.92))
)
