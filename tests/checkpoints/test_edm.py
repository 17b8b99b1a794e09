import pytest
import torch
from mmengine import MODELS
from mmengine.runner import CheckpointLoader

from mmagic_adm.checkpoints import (
    CheckpointError,
    config_from_checkpoint,
    load_network,
    read_checkpoint,
    use_safe_loader,
    write_checkpoint,
)
from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.edm import adm_state_dict
from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.networks import SongUNet
from mmagic_adm.networks.song import TAPS
from tests.checkpoints.conftest import assert_same_tensors
from tests.checkpoints.edm_files import (
    Persistent,
    edm2_snapshot,
    edm_state,
    edm_state_dict,
    module,
    snapshot,
    write_edm,
)
from tests.networks.test_edm2 import edm2, original_name
from tests.reference import golden_names, load_golden, load_manifest, weight_from_name

UNET = dict(
    type='ADMUNet',
    _scope_='mmagic_adm',
    image_size=16,
    model_channels=32,
    out_channels=3,
    num_res_blocks=1,
    attention_resolutions=(8,),
    channel_mult=(1, 2),
    num_classes=10,
    num_head_channels=64,
    use_new_attention_order=True,
    min_group_channels=4,
)
RELEASED = 'edm-imagenet-64x64-cond-adm'
ARCHITECTURES = {
    'attends everywhere': dict(attention_resolutions=(16, 8), channel_mult=(1, 2)),
    'attends in the middle alone': dict(attention_resolutions=(), channel_mult=(1, 2)),
    'attends above the bottom': dict(attention_resolutions=(8,), channel_mult=(1, 2, 2)),
    'one level': dict(attention_resolutions=(), channel_mult=(1,)),
}


@pytest.fixture
def path(tmp_path):
    return write_edm(tmp_path / 'edm-tiny.pkl', snapshot())


@pytest.fixture
def written(tmp_path):
    def written(content):
        return write_edm(tmp_path / 'other.pkl', content)

    return written


def test_a_snapshot_is_read_like_any_checkpoint(path):
    checkpoint = read_checkpoint(path)
    assert (checkpoint.layout, checkpoint.parts, checkpoint.left_out) == ('edm', ('',), ())
    assert_same_tensors(checkpoint.state_dict, adm_state_dict(edm_state()))
    preconditioning = checkpoint.metadata['preconditioning']
    assert preconditioning == dict(type='EDMPrecond', sigma_data=0.5)


def test_its_weights_go_into_a_network(path):
    network = MODELS.build(UNET)
    report = load_network(network, path, prefix='unet')
    assert (report.layout, report.loaded) == ('edm', len(network.state_dict()))
    assert_same_tensors(network.state_dict(), adm_state_dict(edm_state()))


def test_its_weights_go_into_a_preconditioned_network(path):
    network = EDMPrecond(UNET)
    load_network(network, path)
    assert_same_tensors(network.network.state_dict(), adm_state_dict(edm_state()))


def test_the_config_of_the_network_is_found(path):
    unet = config_from_checkpoint(path).config['unet']
    assert unet == unet | {key: UNET[key] for key in UNET if key != '_scope_'} | dict(dropout=0.2)


def test_it_converts_to_safetensors_and_stays_what_it_is(path, tmp_path):
    checkpoint = read_checkpoint(path)
    converted = tmp_path / 'edm-tiny.safetensors'
    metadata = checkpoint.description()
    write_checkpoint(checkpoint.state_dict, converted, 'safetensors', metadata=metadata)
    again = read_checkpoint(converted)
    assert_same_tensors(again.state_dict, checkpoint.state_dict)
    assert again.file_name == 'edm-tiny.pkl'
    assert config_from_checkpoint(converted).config['unet']['min_group_channels'] == 4


def test_a_runner_reads_it(path, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    use_safe_loader()
    content = CheckpointLoader.load_checkpoint(str(path))
    assert_same_tensors(dict(content['state_dict']), adm_state_dict(edm_state()))


@pytest.mark.parametrize('layout', golden_names('song'))
def test_networks_of_score_based_models_are_read(written, layout):
    meta = load_golden('song', layout).meta
    state = {k: weight_from_name(k, tuple(v)) for k, v in meta['state_dict_shapes'].items()}
    row = torch.tensor(TAPS[meta['kwargs']['layout']])
    weights = (row.outer(row) / row.sum() ** 2)[None, None]
    in_file = {f'model.{key}': tensor for key, tensor in state.items()}
    in_file['model.enc.8x8_down.conv0.resample_filter'] = weights
    content = snapshot(in_file, network='SongUNet')
    content['ema'].state.update(label_dim=meta['kwargs']['num_classes'] or 0)
    inner = content['ema'].state['_modules']['model'].state['_modules']
    embedding = inner.setdefault('map_noise', module('PositionalEmbedding'))
    embedding.class_name = 'PositionalEmbedding' if 'ddpm' in layout else 'FourierEmbedding'
    path = written(content)
    network = SongUNet(**meta['kwargs'])
    assert load_network(network, path).loaded == len(state)
    assert_same_tensors(dict(network.state_dict()), state)
    said = read_document(path).meta
    assert said['config']['unet'] == dict(
        type='SongUNet',
        image_size=16,
        layout=meta['kwargs']['layout'],
        num_classes=meta['kwargs']['num_classes'],
        dropout=0.2,
    )
    assert said['preconditioning'] == dict(type='EDMPrecond', sigma_data=0.5)
    found = config_from_checkpoint(path).config
    for name, value in meta['kwargs'].items():
        assert found['unet'][name] == (tuple(value) if isinstance(value, list) else value), name
    assert found['diffusion_scheduler']['type'] == 'EDMHeunScheduler'


def test_other_architectures_are_refused_by_name(written):
    with pytest.raises(CheckpointError, match='holds a VisionNet, which is another arch'):
        read_checkpoint(written(snapshot(network='VisionNet')))
    with pytest.raises(CheckpointError, match=r'SongUNet that is neither DDPM\+\+ nor NCSN\+\+'):
        read_checkpoint(written(snapshot(network='SongUNet')))


def test_a_preconditioning_that_is_not_known_is_refused_by_name(written):
    with pytest.raises(CheckpointError, match='trained in VPPrecond; those in EDMPrecond or iDDPM'):
        read_checkpoint(written(snapshot(precond='VPPrecond')))


def test_the_baseline_on_the_discrete_process_is_read(written):
    checkpoint = read_checkpoint(written(snapshot(precond='iDDPMPrecond')))
    assert checkpoint.metadata['preconditioning']['type'] == 'iDDPMPrecond'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(loss_fn=Persistent('EDMLoss', {})), "no network under the name 'ema', but loss_fn"),
        (dict(ema=Persistent('EDMLoss', {})), 'holds a EDMLoss, which is no network of EDM'),
        (dict(ema=torch.ones(1), x=Persistent('A', {})), "under the name 'ema', but ema, x"),
        ([Persistent('EDMPrecond', {})], "under the name 'ema', but list"),
    ],
)
def test_a_file_without_a_network_says_what_it_holds(written, content, message):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(written(content))


def test_a_network_with_other_tensors_names_them(written):
    state = edm_state() | {'model.map_augment.weight': torch.zeros(32, 9)}
    with pytest.raises(CheckpointError, match=r'no ADM: .*such as model\.map_augment\.weight'):
        read_checkpoint(written(snapshot(state)))


def test_a_module_that_holds_itself_has_an_end(written):
    content = snapshot()
    shared = content['ema'].state['_modules']['model'].state['_modules']
    shared['again'] = shared['map_layer0']
    with pytest.raises(CheckpointError, match=r'damaged: model\.again is no module of its own'):
        read_checkpoint(written(content))


def test_a_network_of_another_size_is_refused(path):
    network = MODELS.build(UNET | dict(num_classes=7))
    with pytest.raises(CheckpointError, match=r'label_emb\.weight 10x128 for 7x128'):
        load_network(network, path)


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


def test_another_resampling_filter_is_named():
    state = edm_state()
    state['model.enc.8x8_down.skip.resample_filter'] = torch.full((1, 1, 4, 4), 1 / 16)
    with pytest.raises(ValueError, match=r'8x8_down\.skip\.resample_filter is not the mean'):
        adm_state_dict(state)


def test_tensors_of_something_else_are_refused():
    with pytest.raises(ValueError, match='not called like those of a DhariwalUNet'):
        adm_state_dict({'conv.weight': torch.zeros(1)})


def test_edm2s_network_comes_out_of_its_file_with_nothing_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kwargs = load_golden('edm2', 'network').meta['kwargs']
    expected = edm2(kwargs)
    state = {original_name(key): value for key, value in expected.state_dict().items()}
    path = write_edm(tmp_path / 'edm2-tiny.pkl', edm2_snapshot(state))
    network = edm2(kwargs, 'other.')
    load_network(network, path)
    for found, value in zip(network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-4)
    said = config_from_checkpoint(path).config
    assert said['unet']['model_channels'] == kwargs['model_channels']
    assert (said['codec']['image_size'], said['codec']['scaling']) == (128, 'edm2')
    assert not (tmp_path / 'trace').exists()
