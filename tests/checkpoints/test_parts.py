import torch

from mmagic_adm.checkpoints.formats import kind_of
from mmagic_adm.checkpoints.parts import sort_into_parts
from tests.checkpoints.conftest import assert_same_tensors


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
