# Progressive distillation (Salimans and Ho 2022), which consistency models are compared with: from
# 64 steps of Euler's to one, halved every 50,000 steps, at 2 and 1 every 100,000.
_base_ = ['./cm-cd_8xb32_imagenet-64x64.py']

model = dict(
    unet=dict(sigma_min=0.0),
    diffusion_scheduler=dict(
        _delete_=True, type='EDMHeunScheduler', solver='euler', to_zero=False, clip_sample=True
    ),
    num_inference_steps=1,
    loss=dict(
        _delete_=True,
        type='ProgressiveDistillationLoss',
        scales=dict(start=64, period=50_000),
        weight='truncated-snr',
    ),
)
train_cfg = dict(max_iters=3_600_000)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
