import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.logging import HistoryBuffer

from mmagic_adm.checkpoints import CheckpointError
from mmagic_adm.checkpoints.torch_files import recorded_model
from mmagic_adm.checkpoints.unpickling import unpickle


class _Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('is_zip', [True, False])
@pytest.mark.parametrize('protocol', [2, 4])
def test_code_in_a_file_is_named_and_never_run(tmp_path, is_zip, protocol):
    path, trace = tmp_path / 'net.pt', tmp_path / 'trace'
    hostile = {'w': torch.ones(1), 'x': _Calls(os.mkdir, str(trace))}
    torch.save(hostile, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=r'was refused.*posix\.mkdir') as caught:
        unpickle(path)
    assert not trace.exists()
    assert '\n' not in str(caught.value)


def test_a_bare_pickle_is_no_way_round(tmp_path):
    path, trace = tmp_path / 'net.pkl', tmp_path / 'trace'
    path.write_bytes(pickle.dumps({'x': _Calls(os.mkdir, str(trace))}))
    with pytest.raises(CheckpointError, match=r'posix\.mkdir'):
        unpickle(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    'call',
    [
        _Calls(eval, 'open("trace", "w")'),
        _Calls(getattr, HistoryBuffer, '__init__'),
        _Calls(getattr, HistoryBuffer.mean, '__globals__'),
        _Calls(torch.hub.load, 'someone/something', 'model'),
        _Calls(torch.load, 'other.pt'),
    ],
    ids=lambda call: call.call[0].__name__,
)
def test_what_checkpoints_may_hold_gives_no_handle_on_code(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    torch.save({'x': call}, 'net.pt')
    with pytest.raises(CheckpointError, match='was refused'):
        unpickle(tmp_path / 'net.pt')
    assert os.listdir(tmp_path) == ['net.pt']


def test_what_a_runner_saves_comes_back(tmp_path):
    history = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 1])
    saved = {
        'message_hub': {'log_scalars': {'loss': history}},
        'best': np.float32(0.5),
        'scores': np.arange(3),
        'names': np.array(['a', 'bc']),
        'flags': np.array([True]),
    }
    torch.save(saved, tmp_path / 'iter_3.pth')
    read = unpickle(tmp_path / 'iter_3.pth')
    assert read['message_hub']['log_scalars']['loss'].mean() == 3.0
    assert read['best'] == np.float32(0.5)
    for name in ('scores', 'names', 'flags'):
        assert np.array_equal(read[name], saved[name])


def test_files_of_old_numpy_are_read(tmp_path):
    torch.save(
        {'best': np.float64(0.5)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False
    )
    new_name, old_name = b'numpy._core.multiarray', b'numpy.core.multiarray'
    content = (tmp_path / 'old.pth').read_bytes()
    assert new_name in content
    (tmp_path / 'old.pth').write_bytes(content.replace(new_name, old_name))
    assert unpickle(tmp_path / 'old.pth') == {'best': 0.5}


def test_allowing_these_classes_lasts_no_longer_than_the_reading(tmp_path):
    torch.save({'loss': HistoryBuffer([1.0], [1])}, tmp_path / 'a.pth')
    unpickle(tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'a.pth', weights_only=True)


@pytest.mark.parametrize('is_zip', [True, False])
@pytest.mark.parametrize('kept', [0.02, 0.5, 0.99])
def test_a_truncated_file_is_called_so(tmp_path, is_zip, kept):
    path = tmp_path / 'net.pt'
    torch.save({'a': torch.randn(100, 100)}, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=f'{path} is truncated or damaged'):
        unpickle(path)


def test_an_archive_of_something_else_is_called_so(tmp_path):
    np.savez(tmp_path / 'samples.npz', arr_0=np.zeros(2))
    with pytest.raises(CheckpointError, match=r'not one that torch\.save made'):
        unpickle(tmp_path / 'samples.npz')


def test_tensors_are_mapped_where_that_is_asked_for(tmp_path):
    path = tmp_path / 'net.pt'
    saved = {'a': torch.arange(5.0)}
    torch.save(saved, path)
    mapped = unpickle(path, mapped=True)
    assert torch.equal(mapped['a'], saved['a'])
    # What is mapped may be written to, and the file stays as it is.
    mapped['a'].zero_()
    assert torch.equal(unpickle(path)['a'], saved['a'])


def test_a_runners_config_is_read_as_values():
    unet = dict(type='ADMUNet', attention_resolutions=(32, 16), num_classes=None, dropout=-0.5)
    model = dict(type='AblatedDiffusionModel', unet=unet, rgb2bgr=False)
    config = Config(dict(model=model, train_cfg=dict(max_iters=3), names=['a', 'b']))
    assert recorded_model(config.pretty_text)['unet'] == unet


@pytest.mark.parametrize(
    'text',
    [
        "model = dict(unet=dict(dropout=__import__('os').mkdir('trace')))",
        'model = build()',
        'model = dict(dict(a=1))',
        'model = [1]',
        'import os',
        'model = ',
        'x = dict(unet=dict(dropout=0.1))',
        '(' * 2000,
    ],
)
def test_code_is_neither_run_nor_understood(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recorded_model(text) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('is_zip', [True, False])
def test_a_storage_is_as_large_as_the_file_has_it(tmp_path, is_zip):
    """Whoever believes the pickle reads what lies behind, or takes all memory there is."""
    path = tmp_path / 'net.pt'
    torch.save({'a': torch.ones(77)}, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    count = b'K\x4d'  # 77, in the reference to the storage and in the shape
    assert content.count(count) == 2
    for larger in (b'K\xff', b'K\x4c'):
        path.write_bytes(content.replace(count, larger))
        if is_zip:
            _with_fitting_checksums(path)
        with pytest.raises(CheckpointError, match=r'net\.pt is truncated or damaged'):
            unpickle(path)


def _with_fitting_checksums(path):
    """Writes an archive anew of what is in it."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            del member.CRC
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize('mapped', [True, False])
def test_a_flipped_bit_in_a_tensor_is_found(tmp_path, mapped):
    path = tmp_path / 'iter_9.pth'
    torch.save({'a': torch.ones(10_000)}, path)
    content = bytearray(path.read_bytes())
    content[20_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'iter_9\.pth is truncated or damaged'):
        unpickle(path, mapped)


def test_arrays_pickle_as_numpys_own(tmp_path):
    """A training that goes on saves anew what it was given."""
    torch.save({'scores': np.arange(3)}, tmp_path / 'a.pth')
    read = unpickle(tmp_path / 'a.pth')
    assert b'mmagic_adm' not in pickle.dumps(read)
    torch.save(read, tmp_path / 'b.pth')
    assert np.array_equal(unpickle(tmp_path / 'b.pth')['scores'], np.arange(3))
