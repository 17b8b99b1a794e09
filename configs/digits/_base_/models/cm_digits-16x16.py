# The U-Net as a consistency function that starts from the weights which denoise: it is told the
# timesteps that those know, and shown x at their scale.
_base_ = ['./adm_digits-16x16.py']

consistency = dict(
    type='EDMPrecond',
    network=dict(_base_.unet, out_channels=1),
    sigma_data=1.0,
    sigma_min=0.04,
    c_noise={{_base_.diffusion}},
)
sampler = dict(type='ConsistencyScheduler', sigma_min=0.04, sigma_max=16.0, num_scales=12)
