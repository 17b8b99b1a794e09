import pytest
import torch
from mmagic_adm.models.denoisers import EDMPrecond
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
from mmagic_adm.checkpoints.edm_names import adm_state_dict
from tests.checkpoints.conftest import assert_same_tensors
from tests.checkpoints.edm_files import Persistent, edm_state, module, snapshot, write_edm

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


def test_a_runner_reads_it(path):
    use_safe_loader()
    content = CheckpointLoader.load_checkpoint(str(path))
    assert_same_tensors(dict(content['state_dict']), adm_state_dict(edm_state()))


@pytest.mark.parametrize(
    ('embedding', 'name'),
    [
        ('PositionalEmbedding', r'SongUNet \(DDPM\+\+\)'),
        ('FourierEmbedding', r'SongUNet \(NCSN\+\+\)'),
    ],
)
def test_other_architectures_are_refused_by_name(written, embedding, name):
    content = snapshot(network='SongUNet')
    model = content['ema'].state['_modules']['model']
    model.state['_modules']['map_noise'] = module(embedding)
    with pytest.raises(CheckpointError, match=f'other.pkl holds a {name}, which is another arch'):
        read_checkpoint(written(content))


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
