# The noise-aware classifier that guides.
classifier = dict(
    type='ADMClassifier',
    image_size=32,
    model_channels=32,
    out_channels=8,
    num_res_blocks=1,
    attention_resolutions=(8,),
    channel_mult=(1, 2, 2),
    num_head_channels=32,
    pool='attention',
    dropout=0.1,
)
