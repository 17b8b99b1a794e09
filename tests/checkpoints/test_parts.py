import pytest
import torch

from mmagic_adm.checkpoints.parts import (
    kind_of,
    mmagic_name,
    network_prefixes,
    openai_name,
    shapes_of,
    sort_into_parts,
)
from mmagic_adm.checkpoints.zoo import build_without_weights, zoo_entries
from tests.checkpoints.conftest import assert_same_tensors, network_config
from tests.reference import golden_names, load_manifest

MMAGIC_FILES = golden_names('checkpoints', 'mmagic_*')


def _part(manifest, prefix):
    return {
        key.removeprefix(f'{prefix}.'): tuple(shape)
        for key, shape in manifest['state_dict_shapes'].items()
        if key.startswith(f'{prefix}.')
    }


@pytest.mark.parametrize('name', MMAGIC_FILES)
def test_every_mmagic_file_is_the_zoo_network_under_other_names(name):
    manifest = load_manifest(name)
    (entry,) = (e for e in zoo_entries() if (e.url or '').endswith(f'/{manifest["checkpoint"]}'))
    configs = entry.network_configs()

    unet = {openai_name(key): shape for key, shape in _part(manifest, 'unet').items()}
    assert unet == shapes_of(build_without_weights(configs['unet']).state_dict())
    classifier = _part(manifest, 'classifier')
    assert bool(classifier) == ('classifier' in configs)
    if classifier:
        assert classifier == shapes_of(build_without_weights(configs['classifier']).state_dict())


@pytest.mark.parametrize('name', MMAGIC_FILES)
def test_mmagic_names_come_back_from_openai_names(name):
    keys = _part(load_manifest(name), 'unet')
    assert [mmagic_name(openai_name(key)) for key in keys] == list(keys)


@pytest.mark.parametrize(
    'name', [n for n in golden_names('networks') if not n.startswith('classifier')]
)
def test_openai_names_come_back_from_mmagic_names(name):
    keys = list(build_without_weights(network_config(name)).state_dict())
    renamed = [mmagic_name(key) for key in keys]
    assert len(set(renamed)) == len(keys)
    assert [openai_name(key) for key in renamed] == keys


def test_names_that_only_look_alike_stay():
    assert openai_name('in_blocks.3.0.downsample.weight') == 'input_blocks.3.0.op.weight'
    assert mmagic_name('output_blocks.1.2.conv.weight') == 'out_blocks.1.2.conv.weight'
    assert openai_name('out.conv.weight') == 'out.2.weight'


def test_networks_are_found_wherever_they_lie():
    keys = ['steps', 'unet.time_embedding.blocks.0.weight', 'module.net.time_embed.0.weight']
    assert network_prefixes(keys) == ['unet.', 'module.net.']
    assert network_prefixes(['time_embed.0.weight']) == ['']
    assert network_prefixes(['sometime_embed.0.weight']) == []


def test_a_bare_network_is_one_part_without_a_name(unet_state):
    networks, others = sort_into_parts(unet_state)
    assert list(networks) == ['']
    assert_same_tensors(networks[''], unet_state)
    assert not others


def test_mmagics_combined_file_is_two_networks_in_openai_names(
    mmagic_state, unet_state, classifier_state
):
    networks, _ = sort_into_parts(mmagic_state)
    assert list(networks) == ['unet', 'classifier']
    assert_same_tensors(networks['unet'], unet_state)
    assert_same_tensors(networks['classifier'], classifier_state)


def test_distributed_trainings_prefix_is_taken_off(combined_state, unet_state):
    networks, _ = sort_into_parts(
        {f'module.{key}': tensor for key, tensor in combined_state.items()}
    )
    assert list(networks) == ['unet', 'classifier']
    bare, _ = sort_into_parts({f'module.{key}': tensor for key, tensor in unet_state.items()})
    assert list(bare) == ['']


def test_an_averaged_copy_is_a_part_of_its_own(unet_state):
    copy = {f'unet_ema.{key}': tensor + 1 for key, tensor in unet_state.items()}
    for order in (unet_state | copy, copy | unet_state):
        networks, _ = sort_into_parts(order)
        assert_same_tensors(networks[''], unet_state)
        assert networks['unet_ema'].keys() == unet_state.keys()


def test_what_belongs_to_no_network_is_kept_apart(combined_state):
    extra = {'loss.weights': torch.ones(2)}
    assert_same_tensors(sort_into_parts(combined_state | extra)[1], extra)
    assert not sort_into_parts(extra)[0]


def test_kinds_are_told_apart(unet_state, classifier_state):
    assert kind_of(unet_state) == 'unet'
    assert kind_of(classifier_state) == 'classifier'
