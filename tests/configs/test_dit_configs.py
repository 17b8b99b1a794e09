"""DiT's configs build, with the networks, scales and trainings that were published."""

import re

import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.checkpoints.zoo import find
from mmagic_adm.guidance import ClassifierFreeGuidance, OffTheShelfGuidance
from mmagic_adm.registry import HOOKS
from mmagic_adm.schedulers import DDPMScheduler
from tests.reference import REPOSITORY, load_manifest

FOLDER = REPOSITORY / 'configs' / 'guided_diffusion'
NAME = re.compile(
    r'dit-xl-2(?P<how>-cfg4?|-ots)?_ddpm250_8xb32_imagenet-(?P<size>256|512)x\d+(_(?P<by>resnet\d+))?'
)
SAMPLING = sorted(path.stem for path in FOLDER.glob('dit-*_ddpm250_*.py'))
TRAINING = ['dit-xl-2_8xb32_imagenet-256x256', 'dit-xl-2_8xb32_imagenet-512x512']


def build(config):
    model = {**config.model.to_dict(), 'pretrained_cfgs': None}
    model['codec']['weights'] = None  # which are not fetched for this
    if 'classifier' in model.get('guidance', {}):
        model['guidance']['classifier']['weights'] = None
    with torch.device('meta'):
        return MODELS.build(model)


@pytest.mark.parametrize('name', SAMPLING)
def test_the_body_does_what_the_name_says(name):
    said, config = NAME.fullmatch(name), Config.fromfile(FOLDER / f'{name}.py')
    assert said, f'{name} is not named in the pattern'
    model = build(config)
    assert isinstance(model.diffusion_scheduler, DDPMScheduler)
    assert (model.num_inference_steps, model.diffusion_scheduler.clip_sample) == (250, False)
    size = int(said['size'])
    assert model.sample_shape == (3, size, size)
    assert model.latent_shape == (4, size // 8, size // 8)
    assert f'imagenet/{size}/' in config.test_evaluator.reference
    weights = find(config.weights.unet)
    assert (weights.name, weights.licence) == (f'DiT-XL-2-{size}x{size}', 'CC BY-NC 4.0')
    ours = {key: list(value.shape) for key, value in model.unet.state_dict().items()}
    assert ours == load_manifest(weights.name)['state_dict_shapes']

    guidance = model.guidance
    if said['how'] in ('-cfg', '-cfg4'):
        assert isinstance(guidance, ClassifierFreeGuidance)
        # One more as the paper counts.
        assert (guidance.scale + 1, guidance.channels) == (
            {'-cfg': 1.5, '-cfg4': 4}[said['how']],
            3,
        )
    elif said['how'] == '-ots':
        assert isinstance(guidance, OffTheShelfGuidance)
        assert guidance.classifier.name == said['by']
        assert (guidance.softplus_beta, guidance.gamma_factor) == (3.0, 0.3)
    else:
        assert guidance is None


def test_there_is_one_of_each():
    found = [(m['size'], m['how'] or '', m['by']) for m in map(NAME.fullmatch, SAMPLING)]
    expected = [(size, how, None) for size in ('256', '512') for how in ('', '-cfg', '-cfg4')]
    off_the_shelf = [('256', 'resnet50'), ('256', 'resnet101'), ('512', 'resnet101')]
    expected += [(size, '-ots', by) for size, by in off_the_shelf]
    assert sorted(found, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize('name', [*TRAINING, 'dit-finetune_1xb4_image-folder-256x256'])
def test_the_trainings(name):
    config = Config.fromfile(FOLDER / f'{name}.py')
    model, dataset = build(config), config.train_dataloader.dataset.dataset
    assert model.loss.loss_type == 'mse'
    assert dataset.type == 'LatentImages'
    assert dataset.codec.image_size == dataset.images.pipeline[-1].size == model.sample_shape[-1]
    assert model.unet.y_embedder.embedding_table.dropout_prob == 0.1
    hooks = {hook.type: hook for hook in config.custom_hooks}
    assert all(map(HOOKS.get, hooks))
    if name in TRAINING:
        optimizer = config.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.0)
        assert hooks['MovingAverages'].rates == (0.9999,)
        assert 8 * config.train_dataloader.batch_size == 256
    else:
        assert config.model.pretrained_cfgs.unet.ignore == ['y_embedder']
