_base_ = ['./adm_ddim250_8xb32_imagenet-256x256.py']

model = dict(
    diffusion_scheduler=dict(type='DiffusersScheduler', type_='DPMSolverMultistepScheduler'),
    num_inference_steps=20,
)
