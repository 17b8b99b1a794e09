# The scale that the samples of the paper are shown at, 4 as it counts: each is likely, and they
# vary little.
_base_ = ['./dit-xl-2-cfg_ddpm250_8xb32_imagenet-256x256.py']

model = dict(guidance=dict(scale=3.0))
