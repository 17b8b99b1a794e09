import pytest
import torch
from mmagic_adm.models.denoisers import EDMPrecond
from mmengine import MODELS

from mmagic_adm.checkpoints.edm_names import adm_state_dict, edm_state_dict
from tests.checkpoints.conftest import assert_same_tensors
from tests.checkpoints.edm_files import edm_state
from tests.reference import golden_names, load_golden, load_manifest

RELEASED = 'edm-imagenet-64x64-cond-adm'
ARCHITECTURES = {
    'attends everywhere': dict(attention_resolutions=(16, 8), channel_mult=(1, 2)),
    'attends in the middle alone': dict(attention_resolutions=(), channel_mult=(1, 2)),
    'attends above the bottom': dict(attention_resolutions=(8,), channel_mult=(1, 2, 2)),
    'one level': dict(attention_resolutions=(), channel_mult=(1,)),
}


def unet(**changes):
    config = dict(
        type='ADMUNet',
        _scope_='mmagic_adm',
        image_size=16,
        model_channels=32,
        out_channels=3,
        num_res_blocks=2,
        num_classes=10,
        num_head_channels=32,
        use_new_attention_order=True,
        min_group_channels=4,
    )
    return MODELS.build(config | changes)


def unet_of(golden):
    network = golden.meta['network']
    return unet(
        model_channels=network['model_channels'],
        num_res_blocks=network['num_blocks'],
        attention_resolutions=network['attn_resolutions'],
        channel_mult=network['channel_mult'],
        num_classes=network['label_dim'] or None,
        num_head_channels=64,
    ).eval()


@pytest.mark.parametrize('name', golden_names('edm'))
def test_the_converted_network_denoises_as_edms_does(name):
    golden = load_golden('edm', name)
    network = unet_of(golden)
    network.load_state_dict(adm_state_dict(edm_state(name)))
    labels = None if network.num_classes is None else golden.y
    with torch.no_grad():
        noisy = golden.x * golden.sigma.view(-1, 1, 1, 1)
        denoised = EDMPrecond(network)(noisy, golden.sigma, labels)
    torch.testing.assert_close(denoised, golden.denoised, rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', golden_names('edm'))
def test_there_and_back_every_tensor_is_what_it_was(name):
    state = edm_state(name)
    back = edm_state_dict(adm_state_dict(state), image_size=16)
    assert list(back) == list(state)
    assert_same_tensors(back, state)


@pytest.mark.parametrize('architecture', ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_back_and_there_too_whatever_the_architecture(architecture):
    state = unet(**architecture).state_dict()
    assert_same_tensors(adm_state_dict(edm_state_dict(state, image_size=16)), state)


def test_the_released_file_has_exactly_the_tensors_of_our_network():
    manifest = load_manifest(RELEASED)
    with torch.device('meta'):
        released = {key: torch.empty(shape) for key, shape in manifest['state_dict_shapes'].items()}
        network = unet(
            image_size=64,
            model_channels=192,
            num_res_blocks=3,
            attention_resolutions=(32, 16, 8),
            channel_mult=None,
            num_classes=1000,
            num_head_channels=64,
        )
    for key in released:
        if key.endswith('resample_filter'):
            released[key] = torch.full((1, 1, 2, 2), 0.25)
    converted = adm_state_dict(released)
    own = network.state_dict()
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in own.items()}
    assert sum(p.numel() for p in network.parameters()) == manifest['num_parameters']

    back = edm_state_dict(own, image_size=64)
    shapes = {key: list(tensor.shape) for key, tensor in back.items()}
    assert list(shapes.items()) == list(manifest['state_dict_shapes'].items())


def test_half_precision_stays_so():
    state = {key: tensor.half() for key, tensor in edm_state().items()}
    assert {tensor.dtype for tensor in adm_state_dict(state).values()} == {torch.float16}


@pytest.mark.parametrize('change', ['map_augment.weight', 'enc.16x16_aux_conv.weight'])
def test_tensors_without_a_counterpart_are_named(change):
    state = edm_state() | {f'model.{change}': torch.zeros(2, 2)}
    with pytest.raises(ValueError, match=f'no place for 1 of its tensors, such as model.{change}'):
        adm_state_dict(state)
    adm_state = adm_state_dict(edm_state()) | {'extra.weight': torch.zeros(1)}
    with pytest.raises(ValueError, match=r'EDM has no place for 1 .* extra\.weight'):
        edm_state_dict(adm_state, image_size=16)


def test_another_resampling_filter_is_named():
    state = edm_state()
    state['model.enc.8x8_down.skip.resample_filter'] = torch.full((1, 1, 4, 4), 1 / 16)
    with pytest.raises(ValueError, match=r'8x8_down\.skip\.resample_filter is not the mean'):
        adm_state_dict(state)


def test_tensors_of_something_else_are_refused():
    with pytest.raises(ValueError, match='not called like those of a DhariwalUNet'):
        adm_state_dict({'conv.weight': torch.zeros(1)})
