"""Configs of restoration build, and hold the published settings."""

import pytest
import torch
from mmengine import MODELS, Config

from tests.reference import REPOSITORY

FOLDER = REPOSITORY / 'configs' / 'restoration'
SETTINGS = {
    'restore_dps1000_ffhq-256x256': (dict(scale=0.3), {}, 0.05),
    'restore_dps1000-inpainting_ffhq-256x256': (dict(scale=0.5), {}, 0.05),
    'restore_ddnm100_imagenet-256x256-uncond': ({}, dict(eta=0.85, jump_repeats=1), 0.0),
    'restore_repaint250_imagenet-256x256-uncond': (
        {}, dict(jump_length=10, jump_repeats=10), 0.0,
    ),
    'restore_mmps25_digits-16x16': (dict(iterations=3), {}, 0.05),
    'restore_mmps18_emoji-32x32': (dict(iterations=3), {}, 0.05),
}  # fmt: skip


def test_there_is_a_line_for_every_config():
    assert set(SETTINGS) == {path.stem for path in FOLDER.glob('*.py')}


@pytest.mark.parametrize('name', SETTINGS)
def test_settings_are_those_of_the_papers(name):
    of_method, of_scheduler, sigma_y = SETTINGS[name]
    config = Config.fromfile(FOLDER / f'{name}.py')
    with torch.device('meta'):
        model = MODELS.build(config.model)
    kind, steps = name.split('_')[1].split('-')[0].rstrip('0123456789'), model.num_inference_steps
    assert model.restoration.name == kind
    assert f'{kind}{steps}' in name
    for holder, wanted in (
        (model.restoration, of_method),
        (model.diffusion_scheduler, of_scheduler),
    ):
        assert {key: getattr(holder, key) for key in wanted} == wanted
    assert config.test_dataloader.dataset.get('sigma_y', 0.0) == sigma_y
