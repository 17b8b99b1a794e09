"""Configs that take fewer steps, or guide in fewer of them, do what their names say."""

import re

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.checkpoints.zoo import find_config, model_names

NAME = re.compile(
    r'(?P<variant>adm|adm-g|adm-g-half|adm-g-every2)_(?P<sampler>dpm|unipc|ddim)(?P<steps>\d+)_'
    r'(8xb32_imagenet-(?P<size>64|128|256|512)x\d+|digits-16x16)'
)
SOLVERS = {'dpm': 'DPMSolverMultistepScheduler', 'unipc': 'UniPCMultistepScheduler'}
NAMES = sorted(
    name for name in model_names() if re.match(r'adm(-g)?_(dpm|unipc)\d|adm-g-(half|every2)_', name)
)


def build(name: str):
    with torch.device('meta'):
        return MODELS.build(find_config(name).model)


def test_there_are_some_for_every_size_of_imagenet():
    sizes = {found['size'] for name in NAMES if (found := NAME.fullmatch(name))}
    assert sizes == {None, '64', '128', '256', '512'}


@pytest.mark.parametrize('name', NAMES)
def test_the_body_does_what_the_name_says(name):
    said = NAME.fullmatch(name)
    assert said, name
    model = build(name)
    scheduler = model.diffusion_scheduler
    scheduler.set_timesteps(model.num_inference_steps)
    assert len(scheduler.timesteps) == int(said['steps'])
    if said['sampler'] in SOLVERS:
        assert type(scheduler.solver).__name__ == SOLVERS[said['sampler']]
    assert model.unet.image_size == int(said['size'] or 16)
    assert (model.classifier is not None) == said['variant'].startswith('adm-g')


@pytest.mark.parametrize('size', [64, 128, 256, 512])
@pytest.mark.parametrize('variant', ['half', 'every2'])
def test_half_of_the_classifiers_calls_are_left_at_the_same_scale(variant, size):
    end = f'ddim25_8xb32_imagenet-{size}x{size}'
    model, full = build(f'adm-g-{variant}_{end}'), build(f'adm-g_{end}')
    model.diffusion_scheduler.set_timesteps(25)
    timesteps = model.diffusion_scheduler.guidance_timesteps
    factor = model.guidance.pace.over(timesteps)
    acting = [t for t in timesteps if factor(torch.tensor([t])) != 0]
    assert len(acting) == pytest.approx(12.5, abs=1)
    assert model.guidance.scale == full.guidance.scale
    assert model.unet.image_size == full.unet.image_size
