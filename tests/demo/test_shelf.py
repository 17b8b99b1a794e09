"""Models that are shared by everyone and changed by no one."""

import pytest
import torch
from mmengine import Config

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    TorchvisionClassifier,
)
from tests.demo.orders import order
from tests.tiny import model_config


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
    first, second = shelf.model_for(order()), shelf.model_for(order(method='classifier-free'))
    assert first.unet is second.unet
    assert shelf.classifier_for(order(method='classifier-free')) is first.classifier


def test_guidance_of_one_order_does_not_reach_another(shelf):
    plain = shelf.model_for(order())
    other = shelf.model_for(order(method='classifier-free'))
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


def test_a_classifier_off_the_shelf_is_loaded_once(shelf):
    classifier = dict(type='TorchvisionClassifier', name='squeezenet1_1', weights=None)
    guidance = dict(type='SampleGuidance', source=dict(type='OffTheShelfGuidance'))
    guidance['source']['classifier'] = classifier
    first, second = (shelf._with_kept_classifiers(guidance)['source'] for _ in range(2))
    assert first['classifier'] is second['classifier']
    assert isinstance(first['classifier'], TorchvisionClassifier)
    assert guidance['source']['classifier'] is classifier


def test_the_judge_of_digits_comes_with_the_package(shelf):
    judge = shelf.judge_for(order().facts)
    images = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    assert judge.extract(images)['logits'].shape == (2, 10)
