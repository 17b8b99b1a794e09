_base_ = ['../emoji/edm_heun18_emoji-32x32.py']

# A hole in the middle of the drawings that were held out, which the network never saw.
model = dict(restoration=dict(type='MMPS', iterations=3))

test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MeasuredImages',
        _scope_='mmagic_adm',
        images=dict(
            type='Emoji',
            data_root='data/emoji/node_modules',
            split='held_out',
            pipeline=[dict(type='DrawEmoji', image_size=32)],
        ),
        operator=dict(type='BoxInpainting', top=0.3, left=0.3, height=0.4, width=0.4),
        sigma_y=0.05,
    ),
)
test_evaluator = dict(metrics=[dict(type='Fidelity'), dict(type='ClassifierAccuracy', topk=(1,))])
