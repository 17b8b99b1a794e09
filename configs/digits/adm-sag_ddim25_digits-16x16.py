_base_ = ['./adm_ddim25_digits-16x16.py']

model = dict(
    guidance=dict(type='SelfAttentionGuidance', scale=0.5, stage='output_blocks.1', blur_sigma=1.0)
)
