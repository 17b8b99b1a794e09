# Easy consistency tuning (Geng et al. 2024) of EDM's network, on pairs of noise levels that draw
# nearer to each other from stage to stage, and without an average to compare with.
_base_ = ['./edm_8xb32_imagenet-64x64.py']

model = dict(
    unet=dict(network=dict(dropout=0.2)),
    diffusion_scheduler=dict(_delete_=True, type='ConsistencyScheduler', sigma_min=0.0),
    num_inference_steps=2,
    loss=dict(
        _delete_=True,
        type='ConsistencyLoss',
        pairs=dict(type='LogNormalLevels', q=4.0, period=25_000, last_stage=3),
        norm='huber',
        weight='gap',
        c=0.06,
    ),
    pretrained_cfgs=dict(
        unet=dict(
            ckpt_path='https://nvlabs-fi-cdn.nvidia.com/edm/pretrained/'
            'edm-imagenet-64x64-cond-adm.pkl'
        )
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='RAdam', lr=1e-4, betas=(0.9, 0.99)), accumulative_counts=1
)
param_scheduler = None
train_cfg = dict(max_iters=100_000)
