_base_ = ['./adm_ddim25_digits-16x16.py']

model = dict(guidance=dict(type='PerturbedAttentionGuidance', scale=1.0, stages=['middle_block']))
