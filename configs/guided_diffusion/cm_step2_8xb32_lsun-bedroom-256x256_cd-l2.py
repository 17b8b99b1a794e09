_base_ = ['./cm_step1_8xb32_lsun-bedroom-256x256_cd-l2.py']

model = dict(num_inference_steps='0,18,39')
