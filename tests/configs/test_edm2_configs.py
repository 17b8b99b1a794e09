"""EDM2's configs build, with the networks, averages and guides that were published."""

import re

import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.checkpoints.zoo import find
from mmagic_adm.models import EDM2Loss
from tests.reference import REPOSITORY

FOLDER = REPOSITORY / 'configs' / 'guided_diffusion'
SAMPLING = sorted(path.stem for path in FOLDER.glob('edm2-*_heun*.py'))


def build(config):
    with torch.device('meta'):
        return MODELS.build(config.model)


def shapes(network):
    return {key: value.shape for key, value in network.state_dict().items()}


def of_zoo(name):
    with torch.device('meta'):
        return MODELS.build({**find(name).network_configs()['unet'], '_scope_': 'mmagic_adm'})


@pytest.mark.parametrize('name', SAMPLING)
def test_the_networks_are_those_of_the_weights_that_are_named(name):
    config = Config.fromfile(FOLDER / f'{name}.py')
    model = build(config)
    weights = config.weights.to_dict()
    assert re.fullmatch(r'edm2-(\w+)', name.split('_')[0].partition('-autog')[0])
    assert shapes(model.unet) == shapes(of_zoo(weights['unet']))
    model.diffusion_scheduler.set_timesteps(model.num_inference_steps)
    assert len(model.diffusion_scheduler.calls()) == 63
    if 'autog' in name:
        assert shapes(model.guidance.other) == shapes(of_zoo(weights['guidance.other']))


def test_autoguidance_is_as_published():
    for name, scale in (('edm2-s-autog', 0.7), ('edm2-s-autog-dino', 1.2)):
        model = build(Config.fromfile(FOLDER / f'{name}_heun32_8xb32_imagenet-64x64.py'))
        assert model.guidance.scale == scale


def test_the_training_is_the_papers():
    config = Config.fromfile(FOLDER / 'edm2-s_8xb32_imagenet-64x64.py')
    loss = build(config).loss
    assert isinstance(loss, EDM2Loss)
    assert (loss.P_mean, loss.P_std) == (-0.8, 1.6)
    images = config.train_cfg.max_iters * 256
    assert images == 1024 << 20
    assert config.default_hooks.checkpoint.interval * 256 == 8 << 20
