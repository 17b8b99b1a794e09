# Consistency training, without a teacher (Consistency Models, algorithm 3 and appendix C).
_base_ = ['./cm-cd_8xb32_imagenet-64x64.py']

model = dict(
    loss=dict(
        _delete_=True,
        type='ConsistencyLoss',
        pairs=dict(
            type='Scales',
            start=2,
            end=200,
            growth='progressive',
            total_steps=800_000,
            start_rate=0.95,
            is_adaptive=True,
        ),
    ),
    diffusion_scheduler=dict(num_scales=201),
    num_inference_steps='0,106,200',
    pretrained_cfgs=None,
)
train_cfg = dict(max_iters=6_400_000)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
