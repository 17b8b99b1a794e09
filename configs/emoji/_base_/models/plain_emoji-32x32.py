# A network without noise and without anything in common with the ADM networks.
plain = dict(
    type='PlainClassifier',
    in_channels=3,
    out_channels=8,
    widths=(24, 48, 48, 96, 96, 128),
    num_features=64,
)
