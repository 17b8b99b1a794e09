"""Each sampling config builds, and does what its name says."""

import pathlib
import re

import mmagic
import pytest
import torch
from mmengine import MODELS, Config
from mmengine.registry import DefaultScope

from mmagic_adm.compat import mmagic_names  # noqa: F401
from tests.reference import REPOSITORY, load_manifest

FOLDER = REPOSITORY / 'configs' / 'guided_diffusion'
# Upsamplers have two sizes in their names, and their tests in tests/models; other guidance than the
# first paper's has its tests in test_guidance_configs.py.
NAMES = sorted(
    path.stem
    for path in FOLDER.glob('adm*_dd*.py')
    if path.stem.count('x') == 2 and re.match('adm(-g|-u)?_', path.stem)
)
MMAGIC_FOLDER = pathlib.Path(mmagic.__file__).parent / '.mim' / 'configs' / 'guided_diffusion'

NAME = re.compile(
    r'adm(?P<variant>-g|-u)?_(?P<scheduler>ddim|ddpm)(?P<steps>\d+)_8xb32_'
    r'(?P<data>imagenet|lsun-\w+(-nodropout)?)-(?P<size>\d+)x\d+(?P<uncond>-uncond)?'
)
# Scale of the classifier's guidance, by image size, as published beside the checkpoints.
DDPM_SCALE = {'64': 1.0, '128': 0.5, '256': 1.0, '256-uncond': 10.0, '512': 4.0}
DDIM_SCALE = {**DDPM_SCALE, '128': 1.0}


def build_on_meta(config):
    with torch.device('meta'):
        return MODELS.build(config)


@pytest.fixture
def _our_scope():
    with DefaultScope.overwrite_default_scope('mmagic_adm'):
        yield


@pytest.mark.parametrize('name', NAMES)
def test_the_body_does_what_the_name_says(name):
    said = NAME.fullmatch(name)
    assert said, f'{name} is not named in the pattern of its folder'
    model = build_on_meta(Config.fromfile(FOLDER / f'{name}.py').model)
    scheduler = model.diffusion_scheduler

    assert (
        type(scheduler).__name__
        == {'ddim': 'DDIMScheduler', 'ddpm': 'DDPMScheduler'}[said['scheduler']]
    )
    assert model.num_inference_steps == int(said['steps'])
    scheduler.set_timesteps(model.num_inference_steps)
    assert len(scheduler.timesteps) == int(said['steps'])

    assert model.unet.image_size == int(said['size'])
    unconditional = bool(said['uncond']) or said['data'].startswith('lsun')
    assert model.unet.num_classes == (None if unconditional else 1000)
    cosine = said['size'] == '64'
    first_beta = scheduler.full_process.betas[0]
    assert first_beta == pytest.approx(4.13e-5 if cosine else 1e-4, rel=1e-2)

    if said['variant'] == '-g':
        scales = DDPM_SCALE if said['scheduler'] == 'ddpm' else DDIM_SCALE
        assert model.classifier_scale == scales[said['size'] + (said['uncond'] or '')]
        assert model.classifier.image_size == model.unet.image_size
        assert model.num_classes == 1000
    else:
        assert model.classifier is None


@pytest.mark.slow
@pytest.mark.usefixtures('_our_scope')
def test_every_released_base_model_can_be_sampled():
    networks = [build_on_meta(Config.fromfile(FOLDER / f'{name}.py').model.unet) for name in NAMES]
    shapes = [
        {key: list(value.shape) for key, value in network.state_dict().items()}
        for network in networks
    ]
    for checkpoint in (
        '64x64_diffusion',
        '128x128_diffusion',
        '256x256_diffusion',
        '256x256_diffusion_uncond',
        '512x512_diffusion',
        'lsun_bedroom',
    ):
        assert load_manifest(checkpoint)['state_dict_shapes'] in shapes, checkpoint


@pytest.mark.usefixtures('_our_scope')
@pytest.mark.parametrize('path', sorted(MMAGIC_FOLDER.glob('*.py')), ids=lambda path: path.stem)
def test_mmagics_own_config_builds_with_the_parameters_of_its_checkpoint(path):
    """MMagic's six files, as installed; only the default scope is ours."""
    model = build_on_meta(Config.fromfile(path).model)
    manifests = [
        load_manifest(manifest.stem)
        for manifest in (REPOSITORY / 'tests' / 'goldens' / 'checkpoints').glob('mmagic_*.json')
    ]
    (manifest,) = [manifest for manifest in manifests if manifest['config'] == path.name]
    assert sum(p.numel() for p in model.parameters()) == manifest['num_parameters']


def test_mmagic_ships_the_six_configs():
    assert len(list(MMAGIC_FOLDER.glob('*.py'))) == 6
