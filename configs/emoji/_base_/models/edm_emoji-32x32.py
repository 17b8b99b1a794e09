# The U-Net, without the preconditioning around it. It knows a null class, for classifier-free
# guidance.
unet = dict(
    type='ADMUNet',
    image_size=32,
    model_channels=32,
    out_channels=3,
    num_res_blocks=2,
    attention_resolutions=(8,),
    channel_mult=(1, 2, 3),
    num_classes=8,
    dropout=0.1,
    num_head_channels=32,
    use_new_attention_order=True,
    class_dropout_prob=0.1,
    min_group_channels=8,
)
class_names = ('face', 'animal', 'person', 'heart', 'fruit', 'clock', 'button', 'flag')
