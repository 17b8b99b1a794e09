# At the scale of the original's own scripts.
_base_ = ['./adm_ddpm250_8xb32_imagenet-256x256.py']

model = dict(
    guidance=dict(
        type='PerturbedAttentionGuidance',
        scale=3.0,
        stages=['input_blocks.14', 'input_blocks.16', 'input_blocks.17', 'middle_block'],
    ),
)
