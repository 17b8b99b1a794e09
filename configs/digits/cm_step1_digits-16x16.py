_base_ = ['./cm_step2_digits-16x16.py']

model = dict(num_inference_steps=1)
