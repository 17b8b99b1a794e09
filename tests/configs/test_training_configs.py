"""Each training config builds, and does what its name says."""

import re

import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.registry import HOOKS, LOOPS, RUNNERS
from tests.reference import REPOSITORY

FOLDERS = [REPOSITORY / 'configs' / name for name in ('guided_diffusion', 'digits', 'emoji')]
KINDS = (
    'adm|adm-fsdp|adm-u|edm|edm-xs|edm-u|cm|cm-cd|cm-ct|cm-pd|ect|classifier|judge|clean|finetune'
)
TRAINED_HERE = re.compile(rf'({KINDS})_\dxb')
PATHS = sorted(
    path for folder in FOLDERS for path in folder.glob('*.py') if TRAINED_HERE.match(path.stem)
)
# Iterations that make a step: the papers' batches of these are of 2048, 1024 and 4096.
ACCUMULATED = {
    'adm_8xb32_imagenet-64x64': 8,
    'classifier_8xb32_imagenet-64x64': 4,
    'edm_8xb32_imagenet-64x64': 16,
    'cm-cd_8xb32_imagenet-64x64': 8,
    'cm-ct_8xb32_imagenet-64x64': 8,
    'cm-pd_8xb32_imagenet-64x64': 8,
}
# Learning rate and weight decay (ADM, tables 11 to 13), where they are not the usual ones.
PUBLISHED_RATES = {
    'adm_8xb32_imagenet-64x64': (3e-4, 0.0),
    'classifier_8xb32_imagenet-64x64': (6e-4, 0.2),
}
# Steps of the optimiser (ADM, tables 11 to 13).
PUBLISHED_STEPS = {
    'adm_8xb32_imagenet-64x64': 540_000,
    'adm_8xb32_imagenet-128x128': 4_360_000,
    'adm_8xb32_imagenet-256x256': 1_980_000,
    'adm_8xb32_imagenet-512x512': 1_940_000,
    'adm-u_8xb32_imagenet-64x64-256x256': 500_000,
    'adm-u_8xb32_imagenet-128x128-512x512': 1_050_000,
    'classifier_8xb32_imagenet-64x64': 300_000,
    'classifier_8xb32_imagenet-128x128': 300_000,
    'classifier_8xb32_imagenet-256x256': 500_000,
    'classifier_8xb32_imagenet-512x512': 500_000,
}

NAME = re.compile(
    rf'(?P<kind>{KINDS})_(?P<processes>\d)xb(?P<batch>\d+)_'
    r'(?P<data>imagenet|lsun-\w+(-nodropout)?|digits|emoji|image-folder)-(\d+x\d+-)?(?P<size>\d+)x\d+'
    r'(?P<uncond>-uncond)?'
)
MODEL = {
    'adm': 'AblatedDiffusionModel',
    'adm-fsdp': 'AblatedDiffusionModel',
    'adm-u': 'UpsamplerTraining',
    'edm-u': 'UpsamplerTraining',
    **dict.fromkeys(
        ('edm', 'edm-xs', 'cm', 'cm-cd', 'cm-ct', 'cm-pd', 'ect'), 'AblatedDiffusionModel'
    ),
    'classifier': 'ClassifierTraining',
    'judge': 'ClassifierTraining',
    'clean': 'ClassifierTraining',
    'finetune': 'AblatedDiffusionModel',
}


def test_there_are_configs_for_all_of_the_papers_networks():
    assert len(PATHS) == 33


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_the_body_does_what_the_name_says(path):
    said = NAME.fullmatch(path.stem)
    assert said, f'{path.stem} is not named in the pattern of its folder'
    config = Config.fromfile(path)
    loader, dataset = config.train_dataloader, config.train_dataloader.dataset.dataset
    assert loader.batch_size == int(said['batch'])

    model_config = {**config.model.to_dict(), 'pretrained_cfgs': None, '_scope_': 'mmagic_adm'}
    if config.model.type == 'ClassifierTraining':
        del model_config['pretrained_cfgs']
    model_config.get('loss', {}).get('teacher', {}).pop('pretrained_cfgs', None)
    with torch.device('meta'):
        model = MODELS.build(model_config)
    assert type(model).__name__ == MODEL[said['kind']]
    network = getattr(model, 'unet', None) or model.classifier
    if said['kind'] not in ('judge', 'clean'):
        assert network.image_size == int(said['size'])
    sizes = [step.get('size', step.get('image_size')) for step in dataset.pipeline]
    assert [size for size in sizes if size][-1] == int(said['size'])
    if said['data'].startswith('lsun') or said['uncond']:
        assert network.num_classes is None

    assert isinstance(config.train_cfg.max_iters, int)
    assert LOOPS.get(config.train_cfg.type)
    shares = config.runner_type == 'FlexibleTrainingRunner'
    assert shares == (said['kind'] == 'adm-fsdp')
    assert RUNNERS.get(config.runner_type)
    assert all(HOOKS.get(hook.type) for hook in config.custom_hooks)
    accumulated = config.optim_wrapper.get('accumulative_counts', 1)
    if said['processes'] == '8':
        assert accumulated == ACCUMULATED.get(path.stem, 1)
    interval = config.default_hooks.checkpoint.interval
    assert interval % accumulated == 0


@pytest.mark.parametrize(('name', 'steps'), PUBLISHED_STEPS.items())
def test_a_training_is_as_long_as_the_published_one(name, steps):
    config = Config.fromfile(FOLDERS[0] / f'{name}.py')
    accumulated = config.optim_wrapper.get('accumulative_counts', 1)
    assert config.train_cfg.max_iters == steps * accumulated


@pytest.mark.parametrize('name', PUBLISHED_STEPS)
def test_steps_are_as_large_as_the_published_ones(name):
    usual = (3e-4, 0.05) if name.startswith('classifier') else (1e-4, 0.0)
    optimizer = Config.fromfile(FOLDERS[0] / f'{name}.py').optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == PUBLISHED_RATES.get(name, usual)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_an_annealed_learning_rate_ends_with_the_training(path):
    config = Config.fromfile(path)
    schedulers = config.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if scheduler.get('end_factor') == 0 or 'eta_min' in scheduler:
            assert scheduler.end == config.train_cfg.max_iters
