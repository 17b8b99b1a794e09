"""Configs of consistency models build, and do what their names and the released files say."""

import re

import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.checkpoints import find
from tests.reference import REPOSITORY, load_manifest

FOLDER = REPOSITORY / 'configs' / 'guided_diffusion'
SAMPLING = sorted(path.stem for path in FOLDER.glob('cm*_*_8xb32_*.py'))
NAME = re.compile(
    r'(cm-edm_heun40|cm_step(?P<steps>[12]))_8xb32_(?P<data>imagenet-64x64|lsun-(bedroom|cat)-256x256)'
    r'(_(?P<kind>cd-l2|cd-lpips|ct))?'
)
MANIFESTS = [load_manifest(f'consistency_{data}') for data in ('imagenet64', 'lsun256')]
FILES = {file: manifest for manifest in MANIFESTS for file in manifest['checkpoints']}


def file_of(config):
    return find(config.weights.unet).url.rpartition('/')[2]


def test_there_is_one_for_every_file_and_for_all_that_have_two_steps():
    files = [file_of(Config.fromfile(FOLDER / f'{name}.py')) for name in SAMPLING]
    two = {file for manifest in MANIFESTS for file in manifest['two_step']}
    assert set(files) == set(FILES)
    assert {file for file in files if files.count(file) == 2} == two


@pytest.mark.parametrize('name', SAMPLING)
def test_the_body_does_what_the_name_and_the_file_say(name):
    said, config = NAME.fullmatch(name), Config.fromfile(FOLDER / f'{name}.py')
    file = file_of(config)
    manifest, size = FILES[file], said['data'].rpartition('x')[2]
    words = re.sub(r'-\d+x\d+|lsun-', '', said['data']), *(said['kind'] or 'edm').split('-')
    assert all(word in file for word in words)
    assert size in file
    with torch.device('meta'):
        model = MODELS.build(config.model)
    entry = find(config.weights.unet)
    given = dict(config.model.unet)
    del given['type'], given['network']
    boundary = dict(sigma_min=0.002) if manifest['distillation'][file] else {}
    assert given == entry.preconditioning == dict(c_noise=250.0, **boundary)
    scheduler = model.diffusion_scheduler
    scheduler.set_timesteps(model.num_inference_steps)
    assert scheduler.clip_sample
    if said['steps'] is None:
        assert len(scheduler.calls()) == 79
        return
    assert len(scheduler.calls()) == int(said['steps'])
    if said['steps'] == '2':
        published = manifest['two_step'][file]
        assert model.num_inference_steps == ','.join(map(str, published['ts']))
        assert scheduler.num_scales == published['steps']
