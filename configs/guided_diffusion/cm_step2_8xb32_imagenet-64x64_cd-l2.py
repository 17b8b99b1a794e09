_base_ = ['./cm_step1_8xb32_imagenet-64x64_cd-l2.py']

model = dict(num_inference_steps='0,22,39')
