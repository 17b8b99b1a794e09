unet = dict(type='SongUNet', image_size=32, channel_mult=(2, 2, 2))
