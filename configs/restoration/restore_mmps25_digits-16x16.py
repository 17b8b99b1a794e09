_base_ = ['../digits/adm_ddim25_digits-16x16.py']

# The lower halves of the scans that were held out, which the network never saw.
model = dict(
    diffusion_scheduler=dict(type='DDPMScheduler'),
    restoration=dict(type='MMPS', iterations=3),
)

images = 'bundled://digits-16x16_held-out.npz'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MeasuredImages',
        _scope_='mmagic_adm',
        images=dict(type='NpzImages', ann_file=images),
        operator=dict(type='BoxInpainting', top=0.5, left=0.0, height=0.5, width=1.0),
        sigma_y=0.05,
        channels=1,
    ),
)
test_evaluator = dict(
    metrics=[
        dict(type='Fidelity'),
        dict(type='ClassifierAccuracy', topk=(1,)),
        dict(type='FrechetInceptionDistance'),
    ],
)
