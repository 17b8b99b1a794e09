_base_ = ['./adm_ddim25_digits-16x16.py']

model = dict(guidance=dict(type='PerturbedAttentionGuidance', scale=0.5, stages=['middle_block']))
