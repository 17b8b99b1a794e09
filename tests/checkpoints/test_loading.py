import pytest
import torch

from mmagic_adm.checkpoints import CheckpointError, load_network, write_checkpoint
from mmagic_adm.checkpoints.loading import compare, is_under, what_fits
from mmagic_adm.checkpoints.parts import openai_name
from mmagic_adm.registry import MODELS
from tests import tiny
from tests.checkpoints.conftest import (
    CLASSIFIER,
    UNET,
    assert_same_tensors,
    network_config,
    network_state,
    save_released,
)
from tests.reference import fill_by_name, load_manifest


def _build(name, **changes):
    return MODELS.build({'_scope_': 'mmagic_adm', **network_config(name), **changes})


@pytest.mark.parametrize('layout', ['openai', 'mmagic', 'safetensors'])
@pytest.mark.parametrize('name', [UNET, CLASSIFIER, 'adm_super_resolution', 'adm_conv_resample'])
def test_a_network_takes_its_weights_from_any_layout(tmp_path, name, layout):
    state = network_state(name)
    path = write_checkpoint(state, tmp_path / 'net', layout)
    network = _build(name)
    report = load_network(network, path)
    assert_same_tensors(dict(network.state_dict()), state)
    assert report.loaded == len(state)
    assert report.kept == report.left_out == ()


def test_a_part_of_a_combined_file_is_chosen(mmagic_file, unet_state, classifier_state):
    network = _build(UNET)
    with pytest.raises(CheckpointError, match='holds unet, classifier: choose one with prefix='):
        load_network(network, mmagic_file)
    report = load_network(network, mmagic_file, prefix='unet')
    assert_same_tensors(dict(network.state_dict()), unet_state)
    assert len(report.left_out) == len(classifier_state)


def test_a_misfit_is_told_by_names_counts_and_shapes(unet_file, unet_state):
    network = _build(UNET, num_classes=None, model_channels=64, attention_resolutions=(16,))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_network(network, unet_file)
    message = str(caught.value)
    missing, extra = before.keys() - unet_state.keys(), unet_state.keys() - before.keys()
    assert message.startswith(f'{unet_file} does not fit this ADMUNet: ')
    assert f'{len(missing)} missing (input_blocks.1.1.norm.weight, ' in message
    assert f'{len(extra)} extra (label_emb.weight, ' in message
    assert 'of another shape (time_embed.0.weight 128x32 for 256x64, ' in message
    assert 'no released network has these tensors' in message
    assert '\n' not in message
    assert_same_tensors(dict(network.state_dict()), before)


@pytest.mark.parametrize(
    ('name', 'prefix', 'config'),
    [
        ('128x128_diffusion', None, 'adm_imagenet-128x128.py'),
        ('64x64_classifier', None, 'classifier_imagenet-64x64.py'),
        (
            'mmagic_adm-g_8xb32_imagenet-512x512-23cf0b58',
            'classifier',
            'classifier_imagenet-512x512.py',
        ),
    ],
)
def test_the_network_that_would_fit_is_named(tmp_path, name, prefix, config):
    path = save_released(name, tmp_path)
    with pytest.raises(CheckpointError, match=f'fits the network of configs/.*/{config}$'):
        load_network(_build(CLASSIFIER), path, prefix)


def test_a_partial_load_is_asked_for_and_reported(unet_file, unet_state, monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmagic_adm.checkpoints.loading.print_log', lambda text, **_: said.append(text)
    )
    network = _build(UNET, num_classes=7)
    own = network.label_emb.weight.detach().clone()
    report = load_network(network, unet_file, ignore=['label_emb'])
    assert torch.equal(network.label_emb.weight, own)
    assert torch.equal(network.out[2].bias, unet_state['out.2.bias'])
    assert report.kept == report.left_out == ('label_emb.weight',)
    assert report.loaded == len(unet_state) - 1
    assert len(said) == 1
    assert '1 kept as they were (label_emb.weight)' in said[0]


def test_what_is_ignored_may_be_in_one_of_them_only(unet_file, tmp_path, unet_state):
    unconditional = _build(UNET, num_classes=None)
    report = load_network(unconditional, unet_file, ignore=['label_emb'])
    assert report.kept == ()
    assert report.left_out == ('label_emb.weight',)

    bare = {key: tensor for key, tensor in unet_state.items() if key != 'label_emb.weight'}
    path = write_checkpoint(bare, tmp_path / 'bare.pt')
    report = load_network(_build(UNET), path, ignore=['label_emb'])
    assert report.kept == ('label_emb.weight',)
    assert report.left_out == ()


def test_an_ignored_name_must_exist(unet_file):
    with pytest.raises(ValueError, match="ignore names 'label_embedding', which neither"):
        load_network(_build(UNET), unet_file, ignore=['label_embedding'])
    with pytest.raises(TypeError, match='a list of names'):
        load_network(_build(UNET), unet_file, ignore='label_emb')


def test_half_precision_weights_load_into_a_full_precision_network(tmp_path, unet_state):
    half = {key: tensor.half() for key, tensor in unet_state.items()}
    network = _build(UNET)
    load_network(network, write_checkpoint(half, tmp_path / 'half.pt'))
    assert network.out[2].weight.dtype == torch.float32
    assert torch.equal(network.out[2].weight, half['out.2.weight'].float())


def test_the_network_keeps_its_weights_when_the_file_goes(unet_file, unet_state):
    network = _build(UNET)
    load_network(network, unet_file)
    unet_file.write_bytes(b'')
    assert_same_tensors(dict(network.state_dict()), unet_state)


def _shapes(name):
    manifest = load_manifest(name)
    return {key: tuple(shape) for key, shape in manifest['state_dict_shapes'].items()}


def test_equal_shapes_make_no_mismatch():
    assert not compare({'a': (1, 2)}, {'a': (1, 2)})


def test_a_mismatch_shows_the_first_few_and_counts_all():
    given = {f'extra{n}': (1,) for n in range(5)} | {'w': (4, 3), 's': ()}
    wanted = {'missing': (1,), 'w': (4, 4), 's': (1,)}
    assert str(compare(given, wanted)) == (
        '1 missing (missing); 5 extra (extra0, extra1, extra2, …); '
        '2 of another shape (w 4x3 for 4x4, s scalar for 1)'
    )


@pytest.mark.parametrize(
    ('manifest', 'config'),
    [
        ('128x128_diffusion', 'adm_imagenet-128x128.py'),
        ('512x512_classifier', 'classifier_imagenet-512x512.py'),
        ('128_512_upsampler', 'adm-u_imagenet-128x128-512x512.py'),
    ],
)
def test_a_released_file_is_recognised_by_its_shapes(manifest, config):
    assert what_fits(_shapes(manifest)) == (
        f'the file fits the network of configs/guided_diffusion/_base_/models/{config}'
    )


def test_networks_of_the_same_shapes_are_all_named():
    said = what_fits(_shapes('lsun_cat'))
    for config in ('adm_imagenet-256x256-uncond', 'adm_lsun-256x256', 'adm_lsun-256x256-nodropout'):
        assert f'/{config}.py' in said


def test_a_network_without_released_weights_is_recognised_too():
    shapes = _shapes('64x64_diffusion')
    del shapes['label_emb.weight']
    assert what_fits(shapes).endswith('adm_imagenet-64x64.py with num_classes=None')


def test_mmagics_file_is_recognised_under_openai_names():
    shapes = {
        openai_name(key.removeprefix('unet.')): shape
        for key, shape in _shapes('mmagic_adm_8xb32_imagenet-256x256-f94735fe').items()
    }
    assert 'adm_imagenet-256x256.py' in what_fits(shapes)


def test_a_name_lies_under_a_module_or_is_one():
    assert is_under('label_emb.weight', ['label_emb'])
    assert is_under('label_emb.weight', ['label_emb.weight'])
    assert not is_under('label_embedding.weight', ['label_emb'])


def test_a_network_made_of_several_is_found_in_a_runners_file_and_alone(tmp_path):
    config = dict(type='ADMDiscriminator', classifier=tiny.CLASSIFIER, num_classes=10)
    settings = dict(config, _scope_='mmagic_adm', model_channels=32, num_head_channels=32)
    expected = fill_by_name(MODELS.build(settings))
    state = expected.state_dict()
    whole = {f'classifier.{key}': value for key, value in state.items()}
    torch.save(dict(state_dict=whole, meta={}), tmp_path / 'iter_9.pth')
    write_checkpoint(state, tmp_path / 'alone.safetensors', 'safetensors')
    for file in ('iter_9.pth', 'alone.safetensors'):
        network = MODELS.build(settings)
        load_network(network, tmp_path / file)
        assert_same_tensors(network.state_dict(), state)
