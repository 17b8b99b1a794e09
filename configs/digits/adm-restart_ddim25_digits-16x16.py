# A quarter of the way down and up again, once.
_base_ = ['./adm_ddim25_digits-16x16.py']

model = dict(diffusion_scheduler=dict(type='DDIMRestartScheduler', restarts=[[5, 1, 200, 400]]))
