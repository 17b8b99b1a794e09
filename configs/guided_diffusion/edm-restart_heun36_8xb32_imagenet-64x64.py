# Published: FID 1.41, at 203 calls of the network.
_base_ = ['./edm_heun36_8xb32_imagenet-64x64.py']

model = dict(
    diffusion_scheduler=dict(
        type='RestartScheduler',
        restarts=[
            [4, 1, 19.35, 40.79],
            [4, 1, 1.09, 1.92],
            [4, 5, 0.59, 1.09],
            [4, 5, 0.30, 0.59],
            [6, 6, 0.06, 0.30],
        ],
        restart_gamma=0.05,
        S_min=0.01,
        S_max=1.0,
        S_noise=1.003,
    )
)
