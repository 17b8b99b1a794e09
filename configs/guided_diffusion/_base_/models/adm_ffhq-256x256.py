# The faces of ILVR, P2 weighting and DPS: a smaller network than ADM's own of this size.
unet = dict(
    type='ADMUNet',
    image_size=256,
    model_channels=128,
    out_channels=6,
    num_res_blocks=1,
    attention_resolutions=(16,),
    num_head_channels=64,
)
