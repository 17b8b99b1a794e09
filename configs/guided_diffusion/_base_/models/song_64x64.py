# EDM's network of score-based models; its files say which of the two layouts theirs has.
unet = dict(type='SongUNet', image_size=64)
