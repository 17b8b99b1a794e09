"""Models that are shared by everyone and changed by no one."""

import pytest
import torch
from mmengine import Config

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.apis import init_model
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.guidance import ClassifierFreeGuidance, ClassifierGuidance
from tests.demo.orders import order
from tests.tiny import build_latent_model, model_config


@pytest.fixture
def shelf():
    return Shelf('cpu')


@pytest.fixture
def without_weights(tmp_path):
    """A config whose weights are not there."""
    weights = dict(unet=dict(ckpt_path=str(tmp_path / 'nowhere.pt')))
    path = tmp_path / 'tiny.py'
    Config(dict(model=model_config(pretrained_cfgs=weights))).dump(path)
    return str(path)


def test_weights_are_loaded_once(shelf):
    first, second = shelf.model_for(order()), shelf.model_for(order(method='cfg'))
    assert first.unet is second.unet


def test_guidance_of_one_order_does_not_reach_another(shelf):
    plain = shelf.model_for(order())
    other = shelf.model_for(order(method='cfg'))
    late = shelf.model_for(order(interval='500-1000'))
    assert isinstance(plain.guidance, ClassifierGuidance)
    assert isinstance(other.guidance, ClassifierFreeGuidance)
    assert plain.guidance.pace.interval is None
    assert late.guidance.pace.interval == (500, 1000)
    assert plain.diffusion_scheduler is not other.diffusion_scheduler
    assert shelf.model_for(order()).guidance.pace.interval is None


def test_models_that_wait_longest_make_room():
    shelf = Shelf('cpu', capacity=1)
    first = shelf.model_for(order())
    shelf.model_for(order(model='adm_ddim25_digits-16x16', method='none'))
    assert shelf.model_for(order()).unet is not first.unet


def test_weights_that_are_not_there_are_named_and_do_no_harm(shelf, without_weights):
    with pytest.raises(CheckpointError, match=r'nowhere\.pt does not exist'):
        shelf.model_for(order(model=without_weights, method='none'))
    assert shelf.model_for(order()).unet is not None


def test_networks_that_guidance_brings_come_with_their_weights(shelf):
    model = 'edm-autog_heun18_emoji-32x32'
    other = shelf.model_for(order(model=model, method='cfg', interval='500-1000')).guidance.other
    expected = init_model(model, 'cpu').guidance.other
    for name, weight in expected.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight)
    plain = shelf.model_for(order(model='edm-ots_heun18_emoji-32x32', method='cfg'))
    assert plain.guidance.other is None


def test_latents_are_made_images_by_the_loaded_codec(shelf, monkeypatch):
    networks = build_latent_model()
    monkeypatch.setattr(shelf, '_networks', lambda *_: networks)
    monkeypatch.setattr('mmagic_adm.demo.shelf.init_model', lambda *_, **parts: parts)
    assert shelf.model_for(order())['codec'] is networks.codec


def test_the_judge_of_digits_comes_with_the_package_and_is_loaded_once(shelf):
    judge = shelf.judge_for(order())
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert judge(images)['logits'].shape == (2, 10)
    assert shelf.judge_for(order(seed=9)) is judge
    assert shelf.judge_for(order(model='adm-g_ddim25_8xb32_imagenet-64x64')) is None
