"""Attention that is looked at or replaced, and left as it was."""

import pytest
import torch
from torch import nn

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.models.compiled import CompiledCall
from mmagic_adm.networks.attention import attending, attention_blocks
from mmagic_adm.networks.convolution import pack
from tests.networks.own import Plain
from tests.tiny import as_pixels, build_model

LABELS = torch.arange(2)


def values_alone(query, key, value):
    return value


@pytest.fixture
def unet():
    return build_model().unet.requires_grad_(False)


def call(network):
    return network(as_pixels(2), torch.tensor(500).expand(2), LABELS)


def test_a_stage_is_called_as_in_the_checkpoints(unet):
    stages = ['input_blocks.3', 'middle_block', 'output_blocks.0', 'output_blocks.1']
    assert list(unet.attention_blocks()) == stages


def test_another_way_to_attend_lasts_as_long_as_it_is_asked_for(unet):
    plain = call(unet)
    with attending(unet, {'middle_block': values_alone}):
        other = call(unet)
    assert (other - plain).abs().max() > 1e-3
    assert torch.equal(call(unet), plain)


def test_a_network_in_its_preconditioning_attends_as_its_own():
    unet = build_model(unet=dict(out_channels=3)).unet.requires_grad_(False)
    network = EDMPrecond(unet)
    with attending(network, {'output_blocks.1': values_alone}):
        other = call(network)
    assert (other - call(network)).abs().max() > 1e-3


@pytest.mark.parametrize('how', ['packed', pytest.param('compiled', marks=pytest.mark.slow)])
def test_it_is_seen_however_the_network_is_computed(unet, how):
    seen = []

    def look(query, key, value):
        seen.append(query.shape)
        return value

    with attending(unet, {'middle_block': values_alone}):
        expected = call(unet)
    if how == 'packed':
        pack(unet, True)
        network = unet
    else:
        network = CompiledCall(unet, torch.float32, backend='eager')
    with attending(unet, {'middle_block': look}):
        torch.testing.assert_close(call(network), expected)
    assert len(seen) == 1


def test_where_there_is_no_attention_is_refused_with_both_names(unet):
    with pytest.raises(ValueError, match=r'Mine is about .* at output_blocks.5, and this ADMUNet'):
        attention_blocks(unet, ['middle_block', 'output_blocks.5'], 'Mine')
    with pytest.raises(ValueError, match=r'Mine .* Plain does not say'):
        attention_blocks(Plain(), ['middle_block'], 'Mine')
    with pytest.raises(ValueError, match=r'Linear does not say'):
        attention_blocks(nn.Linear(1, 1), ['middle_block'], 'Mine')
