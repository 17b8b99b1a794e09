import errno
import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mmagic_adm.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from tests.checkpoints.conftest import assert_same_tensors

NAMES = {'openai': 'net.pt', 'mmagic': 'net.pth', 'safetensors': 'net.safetensors'}


def test_openais_file_is_read_as_it_is(unet_file, unet_state):
    checkpoint = read_checkpoint(unet_file)
    assert checkpoint.layout == 'openai'
    assert checkpoint.parts == ('',)
    assert checkpoint.file_name == 'unet.pt'
    assert_same_tensors(checkpoint.state_dict, unet_state)


def test_a_part_of_mmagics_file_is_chosen_by_prefix(mmagic_file, unet_state, classifier_state):
    unet = read_checkpoint(mmagic_file, prefix='unet')
    assert unet.layout == 'mmagic'
    assert unet.parts == ('unet',)
    assert unet.metadata == {'epoch': 1}
    assert_same_tensors(unet.state_dict, unet_state)
    assert len(unet.left_out) == len(classifier_state)
    assert all(key.startswith('classifier.') for key in unet.left_out)
    classifier = read_checkpoint(mmagic_file, prefix='classifier.')
    assert_same_tensors(classifier.state_dict, classifier_state)


def test_without_a_prefix_all_parts_are_read(mmagic_file, combined_state, unet_state):
    checkpoint = read_checkpoint(mmagic_file)
    assert checkpoint.parts == ('unet', 'classifier')
    assert not checkpoint.left_out
    assert_same_tensors(checkpoint.state_dict, combined_state)
    assert_same_tensors(checkpoint.networks()['unet'], unet_state)


def test_the_only_part_needs_no_prefix(tmp_path, mmagic_state, unet_state):
    unet = {key: tensor for key, tensor in mmagic_state.items() if key.startswith('unet.')}
    torch.save(dict(state_dict=unet), tmp_path / 'unet.pth')
    for prefix in (None, 'unet'):
        assert_same_tensors(read_checkpoint(tmp_path / 'unet.pth', prefix).state_dict, unet_state)


def test_a_prefix_is_harmless_where_there_is_only_that_kind(unet_file, unet_state):
    assert_same_tensors(read_checkpoint(unet_file, 'unet').state_dict, unet_state)
    with pytest.raises(CheckpointError, match="is a unet, and prefix='classifier' asks for a"):
        read_checkpoint(unet_file, 'classifier')


def test_an_unknown_prefix_is_answered_with_those_there_are(mmagic_file):
    with pytest.raises(CheckpointError, match="no network called 'net'; it holds 'unet', 'class"):
        read_checkpoint(mmagic_file, 'net')


def test_a_runners_own_file_says_so(tmp_path, combined_state, unet_state):
    torch.save(dict(state_dict=combined_state, meta=dict(iter=3)), tmp_path / 'iter_3.pth')
    checkpoint = read_checkpoint(tmp_path / 'iter_3.pth', 'unet')
    assert checkpoint.layout == 'mmengine'
    assert_same_tensors(checkpoint.state_dict, unet_state)


def test_averaged_weights_are_taken_unless_told_otherwise(tmp_path, unet_state):
    # As MMEngine's EMAHook leaves them: the average under the model's names.
    averaged = {f'unet.{key}': tensor for key, tensor in unet_state.items()}
    trained = {f'module.{key}': tensor + 1 for key, tensor in averaged.items()}
    content = dict(
        state_dict=averaged, ema_state_dict={'steps': torch.tensor(3), **trained}, meta={}
    )
    torch.save(content, tmp_path / 'iter_3.pth')
    read = read_checkpoint(tmp_path / 'iter_3.pth', 'unet')
    assert_same_tensors(read.state_dict, unet_state)
    raw = read_checkpoint(tmp_path / 'iter_3.pth', 'unet', ema=False)
    assert_same_tensors(raw.state_dict, {key: value + 1 for key, value in unet_state.items()})


def test_an_averaged_copy_in_the_model_is_chosen_by_its_name(tmp_path, unet_state):
    state = {f'unet.{key}': tensor for key, tensor in unet_state.items()}
    state |= {f'unet_ema.{key}': tensor + 1 for key, tensor in unet_state.items()}
    torch.save(dict(state_dict=state), tmp_path / 'iter_3.pth')
    read = read_checkpoint(tmp_path / 'iter_3.pth', 'unet_ema')
    assert torch.equal(read.state_dict['out.2.bias'], unet_state['out.2.bias'] + 1)


def test_safetensors_of_others_are_read(tmp_path, unet_state):
    save_file(unet_state, tmp_path / 'net.safetensors', {'format': 'pt'})
    checkpoint = read_checkpoint(tmp_path / 'net.safetensors')
    assert checkpoint.layout == 'safetensors'
    assert checkpoint.metadata == {}
    assert_same_tensors(checkpoint.state_dict, unet_state)


@pytest.mark.parametrize('described', ['{', '3', json.dumps({'source': 'a.pt'})])
def test_odd_metadata_hinders_nothing(tmp_path, unet_state, described):
    save_file(unet_state, tmp_path / 'net.safetensors', {'mmagic_adm': described})
    checkpoint = read_checkpoint(tmp_path / 'net.safetensors')
    assert checkpoint.file_name == ('a.pt' if 'source' in described else 'net.safetensors')


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        ([torch.ones(1)], 'holds a list, not a state dict'),
        ({'state_dict': [1]}, "its 'state_dict' is a list"),
        (
            {'model': {'a': torch.ones(1)}, 'step': 3},
            r'2 of its 2 entries are not named.*step',
        ),
        ({'conv.weight': torch.ones(1)}, r'holds no ADM network.*conv\.weight'),
        ({0: torch.ones(1)}, r'1 of its 1 entries are not named tensors, such as 0 \(Tensor\)'),
        ({}, 'holds no ADM network'),
    ],
)
def test_a_file_of_something_else_is_refused_by_what_it_is(tmp_path, content, complaint):
    torch.save(content, tmp_path / 'net.pt')
    with pytest.raises(CheckpointError, match=complaint) as caught:
        read_checkpoint(tmp_path / 'net.pt')
    assert str(tmp_path / 'net.pt') in str(caught.value)


def test_what_no_format_knows_is_called_no_checkpoint(tmp_path):
    (tmp_path / 'net.pt').write_bytes(b'GIF89a something else')
    with pytest.raises(CheckpointError, match=r"is not a checkpoint: it begins with b'GIF89a"):
        read_checkpoint(tmp_path / 'net.pt')
    (tmp_path / 'net.pt').write_bytes(b'\xff\0\0\0\0\0\0\0{"a"')
    with pytest.raises(CheckpointError, match='is truncated'):
        read_checkpoint(tmp_path / 'net.pt')


def test_formats_are_known_by_content_whatever_the_name(tmp_path, unet_state):
    torch.save(unet_state, tmp_path / 'zip.safetensors')
    torch.save(unet_state, tmp_path / 'old.pkl', _use_new_zipfile_serialization=False)
    save_file(unet_state, tmp_path / 'safe.pth')
    layouts = [
        read_checkpoint(tmp_path / name).layout
        for name in ('zip.safetensors', 'old.pkl', 'safe.pth')
    ]
    assert layouts == ['openai', 'openai', 'safetensors']


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'nothing\.pt does not exist'):
        read_checkpoint(tmp_path / 'nothing.pt')
    with pytest.raises(CheckpointError, match='has no weights in it'):
        read_checkpoint(tmp_path)


def test_a_damaged_safetensors_file_is_named(tmp_path, unet_state):
    path = tmp_path / 'net.safetensors'
    save_file(unet_state, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f'{path} is truncated'):
        read_checkpoint(path)


def test_a_local_file_is_held_to_the_hash_in_its_name(unet_file):
    wrong = unet_file.rename(unet_file.with_name('unet-deadbeef.pt'))
    with pytest.raises(CheckpointError, match='SHA-256 begins with deadbeef'):
        read_checkpoint(wrong)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('layout', NAMES)
@pytest.mark.parametrize('kind', ['unet', 'classifier'])
def test_a_round_trip_changes_no_bit(tmp_path, request, layout, dtype, kind):
    state = {
        key: tensor.to(dtype) for key, tensor in request.getfixturevalue(f'{kind}_state').items()
    }
    path = write_checkpoint(state, tmp_path / NAMES[layout], layout)
    checkpoint = read_checkpoint(path)
    # MMagic's classifier has OpenAI's names, so its file looks like any runner's.
    assert checkpoint.layout == (
        layout if (layout, kind) != ('mmagic', 'classifier') else 'mmengine'
    )
    assert_same_tensors(checkpoint.state_dict, state)
    back = write_checkpoint(checkpoint.state_dict, tmp_path / 'back.pt', 'openai')
    assert_same_tensors(torch.load(back), state)


@pytest.mark.parametrize('layout', ['mmagic', 'safetensors'])
def test_a_combined_file_makes_the_round_trip_too(tmp_path, mmagic_file, mmagic_state, layout):
    combined = read_checkpoint(mmagic_file)
    path = write_checkpoint(combined.state_dict, tmp_path / NAMES[layout], layout)
    back = write_checkpoint(read_checkpoint(path).state_dict, tmp_path / 'back.pth', 'mmagic')
    assert_same_tensors(torch.load(back)['state_dict'], mmagic_state)


def test_mmagic_finds_its_prefixes_and_names(tmp_path, unet_state, classifier_state):
    unet = write_checkpoint(unet_state, tmp_path / 'unet.pth', 'mmagic')
    keys = torch.load(unet)['state_dict'].keys()
    assert 'unet.time_embedding.blocks.0.weight' in keys
    assert 'unet.out.gn.weight' in keys
    classifier = write_checkpoint(classifier_state, tmp_path / 'classifier.pth', 'mmagic')
    keys = torch.load(classifier)['state_dict'].keys()
    assert 'classifier.out.2.positional_embedding' in keys


def test_openais_layout_is_one_network(tmp_path, combined_state):
    with pytest.raises(CheckpointError, match='is one network, and this is unet and classifier'):
        write_checkpoint(combined_state, tmp_path / 'net.pt')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('layout', ['mmagic', 'safetensors'])
def test_a_file_tells_what_it_was_told(tmp_path, unet_state, layout):
    metadata = {'source': 'a.pt', 'config': {'unet': {'attention_resolutions': (32, 16)}}}
    path = write_checkpoint(unet_state, tmp_path / NAMES[layout], layout, metadata=metadata)
    assert read_checkpoint(path).metadata == {
        'source': 'a.pt',
        'config': {'unet': {'attention_resolutions': [32, 16]}},
    }


def test_metadata_that_cannot_be_kept_is_refused(tmp_path, unet_state):
    with pytest.raises(CheckpointError, match='no place for metadata'):
        write_checkpoint(unet_state, tmp_path / 'net.pt', 'openai', metadata={'a': 1})
    with pytest.raises(CheckpointError, match='metadata: Object of type set'):
        write_checkpoint(unet_state, tmp_path / 'n.pth', 'mmagic', metadata={'a': {1}})


def test_safetensors_say_that_they_are_torchs(tmp_path, unet_state):
    path = write_checkpoint(unet_state, tmp_path / 'net.safetensors', 'safetensors')
    with safe_open(path, 'pt') as file:
        assert file.metadata()['format'] == 'pt'


@pytest.mark.parametrize('layout', NAMES)
def test_others_may_read_the_file_if_the_umask_lets_them(tmp_path, unet_state, layout):
    path = write_checkpoint(unet_state, tmp_path / NAMES[layout], layout)
    (tmp_path / 'other').touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / 'other').stat().st_mode)


@pytest.mark.parametrize('layout', NAMES)
def test_views_do_not_drag_their_storage_along(tmp_path, unet_state, layout):
    state = {key: torch.stack([tensor] * 10)[3] for key, tensor in unet_state.items()}
    slim = write_checkpoint(unet_state, tmp_path / f'slim-{NAMES[layout]}', layout)
    path = write_checkpoint(state, tmp_path / NAMES[layout], layout)
    assert path.stat().st_size < 1.05 * slim.stat().st_size
    assert_same_tensors(read_checkpoint(path).state_dict, unet_state)


def test_an_existing_file_is_replaced_only_when_told(tmp_path, unet_state):
    path = tmp_path / 'net.pt'
    path.write_text('precious')
    with pytest.raises(CheckpointError, match='exists'):
        write_checkpoint(unet_state, path)
    assert path.read_text() == 'precious'
    write_checkpoint(unet_state, path, overwrite=True)
    assert_same_tensors(read_checkpoint(path).state_dict, unet_state)


def test_a_file_may_be_converted_onto_itself(tmp_path, unet_state):
    path = write_checkpoint(unet_state, tmp_path / 'net.pth')
    checkpoint = read_checkpoint(path)
    write_checkpoint(checkpoint.state_dict, path, 'mmagic', overwrite=True)
    assert_same_tensors(read_checkpoint(path).state_dict, unet_state)


@pytest.mark.parametrize(
    ('name', 'layout', 'complaint'),
    [
        ('net.safetensors', 'openai', 'its name says safetensors'),
        ('net-7ff0080b.pt', 'openai', 'leave out -7ff0080b'),
    ],
)
def test_a_name_that_would_mislead_is_refused(tmp_path, unet_state, name, layout, complaint):
    with pytest.raises(CheckpointError, match=complaint):
        write_checkpoint(unet_state, tmp_path / name, layout)


def test_an_unknown_layout_is_refused(tmp_path, unet_state):
    with pytest.raises(ValueError, match="one of openai, mmagic, safetensors, not 'onnx'"):
        write_checkpoint(unet_state, tmp_path / 'net.pt', 'onnx')


def test_mmagic_has_names_for_adms_networks_alone(tmp_path):
    with pytest.raises(CheckpointError, match=r'belong to no ADM network: fc\.weight \(1 of 1\)'):
        write_checkpoint({'fc.weight': torch.ones(1)}, tmp_path / 'net.pth', 'mmagic')


@pytest.mark.parametrize('layout', NAMES)
def test_what_is_beside_a_network_or_nothing_is_refused(tmp_path, unet_state, layout):
    odd = {f'unet.{key}': tensor for key, tensor in unet_state.items()} | {'fc': torch.ones(1)}
    for state, complaint in ((odd, r'fc \(1 of 146\)'), ({}, r'nothing at all \(0 of 0\)')):
        with pytest.raises(CheckpointError, match=f'belong to no ADM network: {complaint}'):
            write_checkpoint(state, tmp_path / NAMES[layout], layout)


@pytest.mark.parametrize('layout', ['openai', 'safetensors'])
def test_a_network_of_another_family_is_written_as_it_is(tmp_path, layout):
    state = {'enter.weight': torch.ones(2, 3), 'leave.bias': torch.zeros(1)}
    path = write_checkpoint(state, tmp_path / NAMES[layout], layout)
    read = read_checkpoint(path, like=state)
    assert_same_tensors(read.state_dict, state)
    assert (read.layout, read.parts, read.left_out) == (layout, ('',), ())


@pytest.mark.parametrize('layout', NAMES)
def test_a_full_disk_leaves_nothing_behind(tmp_path, unet_state, layout, monkeypatch):
    class FullDisk:
        def __init__(self, file):
            self.file = file

        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def flush(self):
            pass

    save = torch.save
    monkeypatch.setattr(torch, 'save', lambda content, file: save(content, FullDisk(file)))

    def write_half(path, content):
        with open(path, 'wb') as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, 'write_bytes', write_half)
    with pytest.raises(CheckpointError, match=r'cannot write .*net.*: the disk is full'):
        write_checkpoint(unet_state, tmp_path / NAMES[layout], layout)
    assert os.listdir(tmp_path) == []


def test_a_flipped_bit_in_safetensors_of_our_own_is_found(tmp_path, unet_state):
    path = write_checkpoint(unet_state, tmp_path / 'net.safetensors', 'safetensors')
    assert_same_tensors(read_checkpoint(path).state_dict, unet_state)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'net\.safetensors is truncated or damaged'):
        read_checkpoint(path)
