# Published: FID 1.43. The weights come under CC BY-NC-SA 4.0.
_base_ = ['./edm2-s_heun32_8xb32_imagenet-64x64.py']

model = dict(unet=dict(network=dict(model_channels=256, dropout=0.1)))

weights = dict(unet='edm2-img64-m-2147483-0.060')
