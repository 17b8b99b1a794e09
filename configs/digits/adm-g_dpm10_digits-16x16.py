_base_ = ['./adm-g_ddim25_digits-16x16.py']

model = dict(
    diffusion_scheduler=dict(type='DiffusersScheduler', type_='DPMSolverMultistepScheduler'),
    num_inference_steps=10,
)
