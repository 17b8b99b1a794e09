"""What a network tells is asked for by name, and what it offers is found inside a wrapper."""

import pytest
from mmengine import MODELS
from torch import nn

from mmagic_adm.denoisers.preconditioned import PreconditionedNetwork
from mmagic_adm.networks.network import Network, check_network, sharding_units, unwrapped
from tests.networks.own import Plain
from tests.tiny import UNET


class Deaf(Plain):
    """A network of one's own that says too little."""

    @property
    def null_label(self):
        raise AttributeError('null_label')


@pytest.fixture
def unet():
    return MODELS.build({**UNET, 'out_channels': 3, '_scope_': 'mmagic_adm'})


def test_networks_say_all_that_is_asked(unet):
    for network in (unet, Plain(), PreconditionedNetwork(Plain())):
        check_network(network)
        assert isinstance(network, Network)


@pytest.mark.parametrize('network', [Deaf(), PreconditionedNetwork(Deaf())])
def test_what_a_network_does_not_say_is_named(network):
    with pytest.raises(ValueError, match=r'^Deaf has no null_label; a network says its image_size'):
        check_network(network)


def test_a_wrapper_is_told_from_a_network_with_a_part_called_network(unet):
    assert unwrapped(PreconditionedNetwork(PreconditionedNetwork(unet))) is unet
    own = Plain()
    own.network = nn.Linear(1, 1)
    assert unwrapped(own) is own
    adapter = PreconditionedNetwork(unet)
    adapter.more = nn.Linear(1, 1)
    assert unwrapped(adapter) is adapter


def test_a_network_is_sharded_by_its_lists_and_sequences():
    network = Plain()
    expected = [network.blocks[0], network.named['first'], network.head]
    assert sharding_units(PreconditionedNetwork(network)) == expected


def test_or_as_it_says_itself():
    network = Plain()
    network.sharding_units = lambda: [network.scale]
    assert sharding_units(network) == [network.scale]


def test_an_adm_network_is_sharded_by_its_stages(unet):
    units = sharding_units(unet)
    stages = [*unet.input_blocks, *unet.output_blocks, unet.middle_block]
    assert set(stages) <= set(units)
