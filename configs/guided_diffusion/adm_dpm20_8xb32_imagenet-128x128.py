_base_ = ['./adm_ddim250_8xb32_imagenet-128x128.py']

model = dict(
    diffusion_scheduler=dict(type='DiffusersScheduler', type_='DPMSolverMultistepScheduler'),
    num_inference_steps=20,
)
