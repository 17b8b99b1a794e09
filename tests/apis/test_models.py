"""From a name to a model."""

import pytest
import torch
from mmengine import Config

from mmagic_adm.apis import init_model
from mmagic_adm.apis.models import model_config as model_config_of
from mmagic_adm.checkpoints import write_checkpoint
from mmagic_adm.models.configs import find_config
from tests.reference import fill_by_name
from tests.tiny import CLASSIFIER, build_model, model_config


@pytest.fixture
def config_file(tmp_path):
    """Config of a small guided model, without weights of its own."""
    path = tmp_path / 'tiny-g.py'
    Config(dict(model=model_config(classifier=CLASSIFIER))).dump(path)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    """Both networks of the small model in one file."""
    model = build_model(classifier=CLASSIFIER)
    path = tmp_path / 'tiny-g.safetensors'
    write_checkpoint(model.state_dict(), path, 'safetensors')
    return path


def holds_named_weights(network):
    loaded = {key: value.clone() for key, value in network.state_dict().items()}
    named = fill_by_name(network).state_dict()
    return all(torch.equal(loaded[key], named[key]) for key in named)


def test_a_config_may_be_a_path_or_a_config(config_file):
    by_path = init_model(config_file, weights=False)
    by_config = init_model(Config.fromfile(config_file), weights=False)
    assert type(by_path) is type(by_config)
    assert not by_path.training


def test_weights_of_all_networks_may_be_in_one_file(config_file, checkpoint):
    model = init_model(config_file, weights=checkpoint)
    assert holds_named_weights(model.unet)
    assert holds_named_weights(model.classifier)


def test_each_network_may_have_a_file_of_its_own(config_file, checkpoint, tmp_path):
    parts = build_model(classifier=CLASSIFIER)
    files = dict(unet=tmp_path / 'unet.pt', classifier=tmp_path / 'classifier.pt')
    for name, path in files.items():
        write_checkpoint(getattr(parts, name).state_dict(), path)
    model = init_model(config_file, weights=files)
    assert holds_named_weights(model.unet)
    assert holds_named_weights(model.classifier)


def test_arguments_of_the_model_may_be_changed(config_file):
    model = init_model(config_file, weights=False, num_inference_steps=7, classifier_scale=3.0)
    assert model.num_inference_steps == 7
    assert model.guidance.scale == 3.0


@pytest.mark.parametrize('explicit', [True, False])
def test_a_classifier_that_is_left_out_takes_its_scale_and_weights_along(explicit):
    config = find_config('adm-g_ddim25_digits-16x16')
    config.model.classifier_scale = 2.0
    if explicit:
        config.model.pretrained_cfgs = model_config_of(config)['pretrained_cfgs']
    model = init_model(config, 'cpu', guidance=dict(type='cfg', scale=0.5))
    assert model.classifier is None
    assert model.guidance.scale == 0.5


def test_a_classifier_stays_where_the_guidance_that_is_chosen_has_a_use_for_it():
    name, scheduler = 'adm-g_ddim25_digits-16x16', dict(type='DDPMScheduler')
    pixels = init_model(name, weights=False, guidance='pixels', diffusion_scheduler=scheduler)
    assert pixels.classifier is not None
    parts = [dict(type='classifier'), dict(type='cfg')]
    both = init_model(name, weights=False, guidance=dict(type='SumGuidance', sources=parts))
    assert both.classifier is not None
    given = pixels.classifier
    with pytest.raises(ValueError, match='does not use: leave it out'):
        init_model(name, weights=False, guidance='cfg', classifier=given)


def test_released_weights_are_those_that_the_config_names(monkeypatch):
    """The real configs, down to the point where the download would begin."""
    fetched = []
    monkeypatch.setattr(
        'mmagic_adm.models.adm.load_network', lambda network, url, **_: fetched.append(url)
    )
    with torch.device('meta'):
        # Nothing can move off the meta device; the model is wanted only for what it asked for.
        init_model('adm-g_ddim25_8xb32_imagenet-64x64', device='meta')
    assert [url.rsplit('/', 1)[1] for url in fetched] == [
        '64x64_diffusion.pt',
        '64x64_classifier.pt',
    ]


class TestBadInput:
    def test_an_unknown_name_gets_suggestions(self):
        with pytest.raises(ValueError, match='did you mean adm-g_ddim25_8xb32_imagenet-64x64'):
            init_model('adm-g_ddim25_imagenet-64x64')

    def test_a_path_to_nothing(self):
        with pytest.raises(ValueError, match=r'no config file nowhere\.py'):
            init_model('nowhere.py')

    def test_weights_that_nobody_named(self, config_file):
        with pytest.raises(ValueError, match='no weights are known for the unet and classifier'):
            init_model(config_file)

    def test_a_file_without_the_classifier(self, config_file, tmp_path):
        path = tmp_path / 'unet.pt'
        write_checkpoint(build_model().unet.state_dict(), path)
        with pytest.raises(RuntimeError, match='classifier'):
            init_model(config_file, weights=path)
