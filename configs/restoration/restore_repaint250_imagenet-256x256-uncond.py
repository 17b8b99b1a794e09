_base_ = ['./restore_ddnm100_imagenet-256x256-uncond.py']

# Lugmayr et al. 2022: 250 steps, of which every ten are walked ten times.
model = dict(
    diffusion_scheduler=dict(
        _delete_=True,
        type='RePaintScheduler',
        variance_type='learned_range',
        jump_length=10,
        jump_repeats=10,
    ),
    restoration=dict(type='RePaint'),
    num_inference_steps=250,
)
test_dataloader = dict(dataset=dict(operator=dict(_delete_=True, type='BoxInpainting')))
