# The faces of ILVR and DPS, ffhq_10m.pt; it has no published address of its own: --checkpoint.
unet = dict(
    type='ADMUNet',
    image_size=256,
    model_channels=128,
    out_channels=6,
    num_res_blocks=1,
    attention_resolutions=(16,),
    num_head_channels=64,
)
