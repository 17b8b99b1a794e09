# Published: FID 5.11, sFID 4.09, precision 0.72, recall 0.65; unguided 5.91, 5.09, 0.70, 0.65.
_base_ = ['./adm_ddpm250_8xb32_imagenet-128x128.py']

model = dict(
    guidance=dict(type='SelfAttentionGuidance', scale=0.1, stage='output_blocks.8', blur_sigma=3.0)
)
