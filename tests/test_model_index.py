"""What is said of a model without reading its config as MMEngine does is what MMEngine reads."""

import re

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.checkpoints.zoo import find
from mmagic_adm.configs import config_file, list_models
from mmagic_adm.model_index import model_summary, released_models
from mmagic_adm.models.configs import find_config

BYTES = 4
# Its config has a table in which several networks guide.
WITH_A_TABLE = {'adm-ots_ddpm250_8xb32_imagenet-128x128_resnet101'}
IS_CASCADE = re.compile(r'\w+-\w+-u_').match
SAYS = re.compile(r'Published[^:]*:\s(# )?FID')


@pytest.mark.parametrize('name', [name for name in list_models() if not IS_CASCADE(name)])
def test_size_classes_and_download(name):
    config, summary = find_config(name), model_summary(name)
    network = config.model.unet.get('network', config.model.unet)
    codec = config.model.get('codec', network)
    assert summary.image_size == codec.image_size
    assert summary.num_classes == network.get('num_classes')
    assert summary.enlarges == ('low_res_size' in config.model)
    weights = list(config.get('weights', {'unet': 'one of your own'}).values())
    weights += filter(None, [codec.get('weights')])
    if any('/' in each or ' ' in each for each in weights if not each.startswith('bundled://')):
        assert summary.download is None
        return
    released = [find(each) for each in weights if not each.startswith('bundled://')]
    if any(entry.url is None and entry.page is None for entry in released):
        assert summary.download is None
    else:
        assert summary.download == BYTES * sum(entry.parameters for entry in released)


def test_what_has_no_config_of_its_own_is_listed_and_can_be_sampled():
    assert {'ffhq_10m', 'cifar10_uncond_50M_500K', 'upsample_cond_500K'} < set(released_models())
    for name in released_models():
        model, summary = find_config(name).model, model_summary(name)
        network = model.unet.get('network', model.unet)
        assert (summary.image_size, summary.num_classes) == (
            network.image_size,
            network.get('num_classes'),
        )
        assert summary.licence == find(name).licence
        assert summary.enlarges == (name == 'upsample_cond_500K')
    cifar = find_config('cifar10_uncond_50M_500K').model.diffusion_scheduler
    assert (cifar.num_train_timesteps, cifar.rescale_timesteps) == (4000, True)
    with torch.device('meta'):
        enlarging = MODELS.build(find_config('upsample_cond_500K').model)
    assert (enlarging.low_res_size, enlarging.unet.image_size) == (64, 256)


def test_a_cascade_has_the_last_size_and_the_first_classes_and_downloads_all():
    stages = map(
        model_summary,
        (
            'adm-g_ddpm250_8xb32_imagenet-64x64',
            'adm-u_ddpm250_8xb32_imagenet-64x64-256x256',
        ),
    )
    cascade = model_summary('adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256')
    assert (cascade.image_size, cascade.num_classes) == (256, 1000)
    assert cascade.download == sum(stage.download for stage in stages)


def test_a_config_that_says_what_was_published_is_listed_with_it():
    saying = {name for name in list_models() if SAYS.search(config_file(name).read_text())}
    assert {name for name in list_models() if model_summary(name).fid} == saying - WITH_A_TABLE


@pytest.mark.parametrize(
    ('name', 'fid'),
    [
        ('adm-g_ddim25_8xb32_imagenet-64x64', 3.7566),
        ('edm_heun256_8xb32_imagenet-64x64', 1.36),
        ('adm-ots_ddpm250_8xb32_imagenet-128x128_resnet50', 2.36),
        ('adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256', 3.94),
        ('adm_ddim25_digits-16x16', None),
    ],
)
def test_published_figures(name, fid):
    assert model_summary(name).fid == fid
