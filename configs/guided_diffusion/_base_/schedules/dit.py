# How DiT was trained: AdamW at 1e-4 throughout, batches of 256 images, an average at 0.9999, and a
# label in ten dropped.
_base_ = ['./adm.py']

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='linear', clip_sample=False),
    num_inference_steps=25,
    loss_type='mse',
)
optim_wrapper = dict(dtype='bfloat16')
