# Published: FID 3.04. The scale of classifier-free guidance is 1.5 as the paper counts
# it, one more than here, and acts on three of the four channels.
_base_ = ['./dit-xl-2_ddpm250_8xb32_imagenet-512x512.py']

model = dict(guidance=dict(type='ClassifierFreeGuidance', scale=0.5, channels=3))
