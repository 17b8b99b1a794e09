"""Released weights have a name, which goes wherever a path goes."""

import pytest
import torch
from mmengine import Config
from mmengine.runner import CheckpointLoader, load_checkpoint
from safetensors.torch import load_file

from mmagic_adm.apis import init_model
from mmagic_adm.checkpoints import find, load_network, use_safe_loader
from mmagic_adm.files.download import cached_path
from tests.commands.running import fail, run_here, succeed
from tests.tiny import CLASSIFIER, build_model, model_config

NAMES = {'unet': '64x64_diffusion', 'classifier': 'ADM_classifier_64'}


@pytest.fixture(autouse=True)
def released(tmp_path, monkeypatch):
    """Small networks, where downloads of the released ones would be; and an empty folder."""
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    model = build_model(classifier=CLASSIFIER)
    for network, name in NAMES.items():
        path = cached_path(find(name).url)
        path.parent.mkdir(parents=True)
        torch.save(getattr(model, network).state_dict(), path)
    return model


def are_equal(network, weights):
    return all(torch.equal(tensor, weights[key]) for key, tensor in network.state_dict().items())


def test_in_python(released):
    model = init_model(Config(dict(model=model_config(classifier=CLASSIFIER))), weights=NAMES)
    for network in NAMES:
        assert are_equal(getattr(model, network), getattr(released, network).state_dict())
    other = build_model().unet
    assert load_network(other, NAMES['unet']).loaded == len(other.state_dict())
    assert are_equal(other, released.unet.state_dict())


def test_in_a_runner(released, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    use_safe_loader()
    model = build_model()
    load_checkpoint(model, NAMES['unet'])
    assert are_equal(model.unet, released.unet.state_dict())


def test_of_the_network_and_of_its_classifier(tmp_path):
    Config(dict(model=model_config(classifier=CLASSIFIER))).dump('guided.py')
    arguments = ['--checkpoint', NAMES['unet'], '--classifier-checkpoint', NAMES['classifier']]
    succeed('sample', 'guided.py', *arguments, '--labels', '1', '--steps', '2')
    assert (tmp_path / 'outputs' / 'guided' / 'sheet.png').is_file()


def test_to_convert_and_to_publish(released):
    assert "type = 'ADMUNet'" in succeed('convert', '--inspect', NAMES['unet'])
    succeed('convert', NAMES['unet'], 'unet.safetensors', '--to', 'safetensors')
    assert are_equal(released.unet, load_file('unet.safetensors'))
    succeed('publish', NAMES['classifier'], 'half.safetensors')
    assert are_equal(released.classifier.half(), load_file('half.safetensors'))


def test_a_file_of_that_name_comes_first(tmp_path):
    (tmp_path / NAMES['unet']).write_bytes(b'of my own')
    assert 'is not a checkpoint' in fail('convert', '--inspect', NAMES['unet'])


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one():
    assert 'did you mean 64x64_diffusion' in fail('convert', '--inspect', '64x64_difusion')
    ended = run_here('sample', 'adm_ddim25_digits-16x16', '--checkpoint', 'ADM_diffusion_64')
    assert 'did you mean ADM_diffusion_64_' in ended.stderr


def test_weights_that_were_not_released_are_asked_for_in_vain():
    assert 'no weights were released' in fail(
        'publish', 'ADM_diffusion_64_unconditioned', 'x.safetensors'
    )
