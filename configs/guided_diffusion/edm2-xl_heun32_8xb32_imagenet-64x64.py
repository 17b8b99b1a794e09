# Published: FID 1.33. The weights come under CC BY-NC-SA 4.0.
_base_ = ['./edm2-s_heun32_8xb32_imagenet-64x64.py']

model = dict(unet=dict(network=dict(model_channels=384, dropout=0.1)))

weights = dict(unet='edm2-img64-xl-0671088-0.040')
