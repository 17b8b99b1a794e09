"""Configs of guidance beyond the first paper build, and hold the published settings."""

import operator
import re

import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.guidance import (
    OffTheShelfGuidance,
    PixelAsParamGuidance,
    SelfAttentionGuidance,
)
from mmagic_adm.schedulers import DDPMScheduler
from tests.reference import REPOSITORY

FOLDER = REPOSITORY / 'configs' / 'guided_diffusion'
OFF_THE_SHELF = sorted(FOLDER.glob('adm-ots_*.py'))
PIXEL_AS_PARAM = sorted(FOLDER.glob('adm-pap_*.py'))
SCALES = {'64-uncond': 1.0, '128': 0.5, '256': 1.0, '256-uncond': 10.0}


def build_on_meta(config):
    with torch.device('meta'):
        return MODELS.build(config)


def check_name(name, model):
    said = re.fullmatch(
        r'adm-\w+_ddpm(?P<steps>\d+)_8xb32_imagenet-(?P<size>\d+)x\d+(?P<uncond>-uncond)?'
        r'(_resnet\d+)?',
        name,
    )
    assert said, f'{name} is not named in the pattern of its folder'
    assert isinstance(model.diffusion_scheduler, DDPMScheduler)
    assert model.num_inference_steps == int(said['steps'])
    assert model.unet.image_size == int(said['size'])
    assert model.unet.num_classes == (None if said['uncond'] else 1000)
    assert model.num_classes == 1000
    return said['size'] + (said['uncond'] or '')


@pytest.mark.parametrize('path', PIXEL_AS_PARAM, ids=lambda path: path.stem)
def test_pixels_as_parameters_at_the_published_scales(path):
    model = build_on_meta(Config.fromfile(path).model)
    size = check_name(path.stem, model)
    assert isinstance(model.guidance, PixelAsParamGuidance)
    assert model.guidance.source.classifier is model.classifier
    assert model.guidance.source.scale == SCALES[size]


@pytest.mark.parametrize(
    ('data', 'scale', 'stage', 'sigma'),
    [
        ('imagenet-128x128', 0.1, 'output_blocks.8', 3),
        ('imagenet-256x256', 0.2, 'output_blocks.2', 9),
        ('imagenet-256x256-uncond', 0.8, 'output_blocks.2', 9),
        ('lsun-cat-256x256', 0.05, 'output_blocks.2', 9),
        ('lsun-horse-256x256', 0.01, 'output_blocks.2', 9),
    ],
)
def test_self_attention_at_the_published_settings(data, scale, stage, sigma):
    config = Config.fromfile(FOLDER / f'adm-sag_ddpm250_8xb32_{data}.py')
    model = build_on_meta(config.model)
    guidance = model.guidance
    assert isinstance(guidance, SelfAttentionGuidance)
    assert (guidance.scale, guidance.stage, guidance.blur_sigma) == (scale, stage, sigma)
    assert guidance.kernel == 31
    # Networks of 4 heads are cut into 4 by either.
    assert guidance.map_heads == (None if '128' in data else 4)
    assert model.num_inference_steps == 250


def test_self_attention_beside_the_classifier_at_the_published_settings():
    name = 'adm-g-sag_ddpm250_8xb32_imagenet-128x128.py'
    model = build_on_meta(Config.fromfile(FOLDER / name).model)
    attention, classifier = model.guidance.parts
    assert (attention.scale, classifier.scale, classifier.classifier) == (
        0.1,
        0.5,
        model.classifier,
    )


@pytest.mark.parametrize('data', ['imagenet-256x256', 'imagenet-256x256-uncond'])
@pytest.mark.parametrize('steps', ['ddim25', 'ddpm250'])
def test_perturbed_attention_as_the_original_runs_it(data, steps):
    config = Config.fromfile(FOLDER / f'adm-pag_{steps}_8xb32_{data}.py')
    model = build_on_meta(config.model)
    stages = ('input_blocks.14', 'input_blocks.16', 'input_blocks.17', 'middle_block')
    assert (model.guidance.scale, model.guidance.stages) == (3.0, stages)


def test_a_discriminator_has_a_place_for_its_weights_and_a_config_that_trains_it():
    config = Config.fromfile(FOLDER / 'adm-g-dg_ddpm250_8xb32_imagenet-256x256.py')
    model = build_on_meta(config.model)
    (place,) = (name for name in config.weights if name.startswith('guidance.'))
    assert operator.attrgetter(place)(model) is model.guidance.parts[1].classifier
    training = Config.fromfile(FOLDER / 'discriminator_8xb64_imagenet-256x256.py').model
    del training['weights']
    trained = build_on_meta(training).classifier
    guiding = model.guidance.parts[1].classifier
    assert {k: v.shape for k, v in trained.state_dict().items()} == {
        k: v.shape for k, v in guiding.state_dict().items()
    }


def test_restarts_are_the_papers():
    config = Config.fromfile(FOLDER / 'edm-restart_heun36_8xb32_imagenet-64x64.py')
    scheduler = build_on_meta(config.model).diffusion_scheduler
    scheduler.set_timesteps(config.model.num_inference_steps)
    assert len(scheduler.calls()) == 203


def test_there_is_one_for_each_of_its_models():
    sizes = [re.search(r'imagenet-(\d+)x\d+(-uncond)?', path.stem) for path in PIXEL_AS_PARAM]
    assert {size[1] + (size[2] or '') for size in sizes} == set(SCALES)


@pytest.mark.parametrize('path', OFF_THE_SHELF, ids=lambda path: path.stem)
def test_off_the_shelf_at_the_published_settings(path):
    config = Config.fromfile(path)
    classifier = config.model.guidance.classifier
    assert classifier.weights == 'IMAGENET1K_V2'
    classifier.weights = None  # which are not fetched for this
    model = build_on_meta(config.model)
    assert check_name(path.stem, model) == '128'
    guidance = model.guidance
    assert isinstance(guidance, OffTheShelfGuidance)
    assert guidance.classifier.name == path.stem.rpartition('_')[2]
    assert guidance.scale == 1.0
    assert guidance.softplus_beta == 3.0
    assert guidance.joint_temperature == 1.0
    assert guidance.margin_temperature_discount == 0.5
    assert guidance.gamma_factor == 0.3


def test_both_resnets_are_there():
    assert [path.stem.rpartition('_')[2] for path in OFF_THE_SHELF] == ['resnet101', 'resnet50']
