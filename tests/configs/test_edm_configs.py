"""EDM's configs build, and do what their names say."""

import re

import numpy as np
import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.models.losses import EDMLoss
from mmagic_adm.registry import EVALUATORS
from tests.checkpoints.edm_files import edm_state_dict
from tests.evaluation.tiny import TINY
from tests.reference import REPOSITORY, load_manifest

FOLDER = REPOSITORY / 'configs' / 'guided_diffusion'
SAMPLING = sorted(p.stem for name in ('edm', 'edm-ots') for p in FOLDER.glob(f'{name}_heun*.py'))
TRAINING = 'edm_8xb32_imagenet-64x64'
NAME = re.compile(r'edm(?P<guided>-ots)?_heun(?P<steps>\d+)_8xb32_imagenet-64x64')


def build(name):
    config = Config.fromfile(FOLDER / f'{name}.py')
    model = config.model.to_dict()
    if 'guidance' in model:
        # Its weights would be downloaded.
        classifier = dict(type='TorchvisionClassifier', name='resnet101', weights=None)
        assert model['guidance']['source']['classifier'] == 'resnet101'
        model['guidance']['source']['classifier'] = classifier
    with torch.device('meta'):
        return MODELS.build(model)


def test_there_are_as_many_steps_as_figures_were_published_for():
    said = [NAME.fullmatch(name) for name in SAMPLING]
    assert sorted(int(name['steps']) for name in said if name['guided']) == [10, 18, 36]
    assert sorted(int(name['steps']) for name in said if not name['guided']) == [10, 18, 36, 256]


@pytest.mark.parametrize('name', SAMPLING)
def test_the_body_does_what_the_name_says(name):
    said, model = NAME.fullmatch(name), build(name)
    scheduler = model.diffusion_scheduler
    assert type(scheduler).__name__ == 'EDMHeunScheduler'
    scheduler.set_timesteps(model.num_inference_steps)
    assert len(scheduler.calls()) == 2 * int(said['steps']) - 1
    assert type(model.unet).__name__ == 'EDMPrecond'
    assert (model.guidance is not None) == bool(said['guided'])
    if said['guided']:
        rule, source = model.guidance, model.guidance.source
        assert (rule.max_guidance, rule.add_factor) == (0.004, 0.3)
        assert (source.softplus_beta, source.margin_temperature_discount) == (5.0, 0.0)


@pytest.mark.parametrize('name', [*SAMPLING, TRAINING])
def test_the_network_is_that_of_the_released_file(name):
    manifest = load_manifest('edm-imagenet-64x64-cond-adm')
    state = edm_state_dict(build(name).unet.state_dict(), image_size=64)
    assert {k: list(v.shape) for k, v in state.items()} == manifest['state_dict_shapes']


def test_the_training_is_edms():
    config, model = Config.fromfile(FOLDER / f'{TRAINING}.py'), build(TRAINING)
    assert isinstance(model.loss, EDMLoss)
    batch = 8 * config.train_dataloader.batch_size
    step = batch * config.optim_wrapper.accumulative_counts
    assert step == 4096
    assert config.train_cfg.max_iters * batch == pytest.approx(2.5e9, rel=1e-5)
    assert config.train_cfg.max_iters % config.optim_wrapper.accumulative_counts == 0
    [averages] = [hook for hook in config.custom_hooks if hook.type == 'MovingAverages']
    assert averages.rates[0] ** (50e6 / step) == pytest.approx(0.5)
    optimizer = dict(config.optim_wrapper.optimizer)
    assert torch.optim.Adam([torch.zeros(1)], **without_type(optimizer)).defaults['lr'] == 1e-4


def without_type(config):
    return {key: value for key, value in config.items() if key != 'type'}


@pytest.mark.parametrize('name', ['edm_heun18_8xb32_imagenet-64x64', TRAINING])
def test_figures_take_edms_reference_of_statistics_alone(name, tmp_path):
    config = Config.fromfile(FOLDER / f'{name}.py')
    assert config.test_evaluator.reference.endswith('/edm/fid-refs/imagenet-64x64.npz')
    statistics = dict(mu=np.zeros(6), sigma=np.eye(6))
    np.savez(tmp_path / 'imagenet-64x64.npz', **statistics)
    evaluator = dict(config.test_evaluator, reference=str(tmp_path / 'imagenet-64x64.npz'))
    features = dict(TINY)
    built = EVALUATORS.build({**evaluator, 'features': features, '_scope_': 'mmagic_adm'})
    assert [type(metric).__name__ for metric in built.metrics] == [
        'InceptionScore',
        'FrechetInceptionDistance',
    ]
