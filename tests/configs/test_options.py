"""Options say of every guided config what a line in a config of one's own would say."""

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.apis.models import changed_config
from mmagic_adm.apis.sampling import scheduler_config
from mmagic_adm.models.configs import find_config

NAMES = [
    'adm-g_ddim25_digits-16x16',
    'adm-g_ddim25_8xb32_imagenet-64x64',
    pytest.param('adm-g_ddim25_8xb32_imagenet-256x256', marks=pytest.mark.slow),
]
EVERY_NAME = pytest.mark.parametrize('name', NAMES)


def build(config):
    with torch.device('meta'):
        return MODELS.build(config.model)


def with_lines(name, **lines):
    """The model of a config that inherits from another."""
    config = find_config(name)
    config.merge_from_dict(dict(model=lines))
    return build(config)


@EVERY_NAME
@pytest.mark.parametrize(
    ('scheduler', 'solver', 'steps'),
    [
        ('dpmsolver++', 'DPMSolverMultistepScheduler', 20),
        ('unipc', 'UniPCMultistepScheduler', 10),
    ],
)
def test_a_solver_and_its_steps(name, scheduler, solver, steps):
    by_option = build(find_config(name)).make_scheduler(scheduler_config(scheduler))
    model = with_lines(
        name,
        diffusion_scheduler=dict(type='DiffusersScheduler', type_=solver),
        num_inference_steps=steps,
    )
    by_line = model.diffusion_scheduler
    for walked in (by_option, by_line):
        walked.set_timesteps(steps)
        assert type(walked.solver).__name__ == solver
    assert model.num_inference_steps == steps
    assert list(by_option.timesteps) == list(by_line.timesteps)
    assert len(by_option.timesteps) == steps
    torch.testing.assert_close(by_option.solver.alphas_cumprod, by_line.solver.alphas_cumprod)


@EVERY_NAME
@pytest.mark.parametrize(('key', 'value'), [('every', 2), ('interval', (250, 750))])
def test_guidance_in_half_of_the_steps_at_the_same_scale(name, key, value):
    by_option = build(changed_config(name, {f'model.guidance.{key}': value}, ('model',)))
    by_line = with_lines(name, guidance={'type': 'ClassifierGuidance', key: value})
    for model in (by_option, by_line):
        assert getattr(model.guidance.pace, key) == value
        assert model.guidance.classifier is model.classifier
        assert model.guidance.scale == build(find_config(name)).guidance.scale
