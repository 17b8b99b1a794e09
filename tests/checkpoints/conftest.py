"""Small checkpoints of every layout."""

import re

import pytest
import torch

from mmagic_adm.checkpoints.parts import mmagic_name
from tests.reference import load_golden, load_manifest, weight_from_name

UNET = 'adm_conditional'
CLASSIFIER = 'classifier_attention_pool'


def network_config(name):
    """The config of a network of the goldens, as a registry builds it."""
    meta = load_golden('networks', name).meta
    kwargs = dict(meta['kwargs'])
    upsamples = kwargs.pop('super_resolution', False)
    types = {'unet': 'ADMUNet', 'classifier': 'ADMClassifier'}
    return dict(type='ADMSuperResolutionUNet' if upsamples else types[meta['kind']], **kwargs)


def network_state(name):
    """Its state dict, in OpenAI's names."""
    shapes = load_golden('networks', name).meta['state_dict_shapes']
    return {key: weight_from_name(key, tuple(shape)) for key, shape in shapes.items()}


def save_released(name, folder):
    """A file with the names and shapes of a released one, whose tensors are all one number."""
    manifest = load_manifest(name)
    state = {
        key: torch.zeros(1).expand(shape) for key, shape in manifest['state_dict_shapes'].items()
    }
    path = folder / manifest['checkpoint']
    # Without the hash, which only the released file can have.
    path = path.with_stem(re.sub('-[0-9a-f]{8}$', '', path.stem))
    torch.save(dict(state_dict=state, meta={}) if path.suffix == '.pth' else state, path)
    return path


def assert_same_tensors(left, right):
    assert left.keys() == right.keys()
    for key in left:
        assert left[key].dtype == right[key].dtype, key
        assert torch.equal(left[key], right[key]), key


@pytest.fixture(scope='session')
def unet_state():
    return network_state(UNET)


@pytest.fixture(scope='session')
def classifier_state():
    return network_state(CLASSIFIER)


@pytest.fixture(scope='session')
def combined_state(unet_state, classifier_state):
    """Both networks, in OpenAI's names, under the prefixes of a model that has them."""
    return {f'unet.{key}': tensor for key, tensor in unet_state.items()} | {
        f'classifier.{key}': tensor for key, tensor in classifier_state.items()
    }


@pytest.fixture(scope='session')
def mmagic_state(unet_state, classifier_state):
    """Both networks as in MMagic's combined files."""
    return {f'unet.{mmagic_name(key)}': tensor for key, tensor in unet_state.items()} | {
        f'classifier.{key}': tensor for key, tensor in classifier_state.items()
    }


@pytest.fixture
def unet_file(tmp_path, unet_state):
    path = tmp_path / 'unet.pt'
    torch.save(unet_state, path)
    return path


@pytest.fixture
def classifier_file(tmp_path, classifier_state):
    path = tmp_path / 'classifier.pt'
    torch.save(classifier_state, path)
    return path


@pytest.fixture
def mmagic_file(tmp_path, mmagic_state):
    path = tmp_path / 'combined.pth'
    torch.save(dict(state_dict=mmagic_state, meta=dict(epoch=1)), path)
    return path
