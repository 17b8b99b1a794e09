# Two calls of the network, as guided as if its own scale were 1.
_base_ = ['./_base_/models/cm_digits-16x16.py', './_base_/evaluation/held-out.py']

model = dict(
    type='AblatedDiffusionModel',
    _scope_='mmagic_adm',
    unet={{_base_.consistency}},
    diffusion_scheduler={{_base_.sampler}},
    num_inference_steps='0,6,11',
)

weights = dict(unet='bundled://digits-16x16_consistency.safetensors')
