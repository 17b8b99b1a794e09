"""torchvision's classifiers by name, with weights from where they are."""

import re
import warnings

import pytest
import torch
import torchvision

from mmagic_adm.checkpoints import CheckpointError
from mmagic_adm.checkpoints.torchvision import load_torchvision
from tests.reference import fill_by_name

NAME = 'shufflenet_v2_x0_5'  # the smallest


@pytest.fixture(scope='module')
def trained():
    return fill_by_name(torchvision.models.get_model(NAME, num_classes=7))


@pytest.fixture(scope='module')
def weights(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'own.pth'
    torch.save(trained.state_dict(), path)
    return path


def saved(path, name):
    """A file of random weights, in the names that torchvision released them with."""
    old_style = r'(denselayer\d+\.(?:norm|conv))(\d)\.'
    network = torchvision.models.get_model(name, **of_fast_init(name))
    state = {re.sub(old_style, r'\1.\2.', k): v for k, v in network.state_dict().items()}
    torch.save(state, path)
    return network.state_dict()


def of_fast_init(name):
    return {} if name.startswith('densenet') else dict(init_weights=False)


def assert_equal(network, state):
    loaded = network.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_weights_come_from_a_file(trained, weights):
    assert_equal(load_torchvision(NAME, weights, num_classes=7), trained.state_dict())


@pytest.mark.parametrize('name', ['DEFAULT', 'IMAGENET1K_V1'])
def test_published_weights_are_fetched_by_name(name, monkeypatch, tmp_path):
    fetched = []

    def fetch(source):
        fetched.append(source)
        path = tmp_path / 'published.pth'
        torch.save(torchvision.models.get_model(NAME).state_dict(), path)
        return path

    monkeypatch.setattr('mmagic_adm.checkpoints.torchvision.fetch', fetch)
    load_torchvision(NAME, name)
    assert fetched == [torchvision.models.ShuffleNet_V2_X0_5_Weights[name].url]


def test_densenets_files_have_their_own_names(tmp_path):
    state = saved(tmp_path / 'densenet.pth', 'densenet121')
    assert torch.load(tmp_path / 'densenet.pth').keys() != state.keys()
    assert_equal(load_torchvision('densenet121', tmp_path / 'densenet.pth'), state)


@pytest.mark.parametrize(
    'name', ['googlenet', pytest.param('inception_v3', marks=pytest.mark.slow)]
)
def test_weights_of_another_normalisation_convert_from_imagenets(name, tmp_path):
    state = saved(tmp_path / 'weights.pth', name)
    with warnings.catch_warnings():
        warnings.simplefilter('error', FutureWarning)
        network = load_torchvision(name, tmp_path / 'weights.pth')
    assert network.transform_input
    assert_equal(network, state)


class TestBadInput:
    @pytest.mark.parametrize(
        ('name', 'message'),
        [
            ('resnet_50', r"no classifier called 'resnet_50'; did you mean .*resnet50"),
            ('ResNet101', 'did you mean resnet101'),
            ('inception', r'did you mean .*inception_v3|there are alexnet'),
        ],
    )
    def test_an_unknown_name_comes_with_suggestions(self, name, message):
        with pytest.raises(ValueError, match=message):
            load_torchvision(name)

    def test_weights_of_another_number_of_classes(self, weights):
        with pytest.raises(CheckpointError, match=f'own.pth .* a {NAME} of 1000 classes'):
            load_torchvision(NAME, weights)

    def test_a_file_that_is_not_there(self):
        with pytest.raises(CheckpointError, match='does not exist'):
            load_torchvision(NAME, 'nowhere.pth')
