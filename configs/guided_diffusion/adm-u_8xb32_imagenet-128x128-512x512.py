_base_ = [
    './_base_/schedules/adm-u.py',
    './_base_/datasets/imagenet-512x512.py',
    './_base_/models/adm-u_imagenet-128x128-512x512.py',
]

model = dict(
    type='UpsamplerTraining',
    _scope_='mmagic_adm',
    unet=dict(_base_.unet, use_checkpoint=True),
    diffusion_scheduler=dict(type='DDIMScheduler'),
    low_res_size=128,
    num_inference_steps=25,
)
train_cfg = dict(max_iters=1_050_000)
