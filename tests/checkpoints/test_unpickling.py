import codecs
import contextlib
import os
import pickle
import pickletools
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmagic_adm.checkpoints import CheckpointError
from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.stand_ins import RecordedObject
from mmagic_adm.checkpoints.unpickling import unpickle
from tests.checkpoints.edm_files import Persistent, edm_state, snapshot, write_edm

TEXT = 'a' * 5000


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write(content, **kwargs):
        return write_edm(tmp_path / 'net.pkl', content, **kwargs)

    return write


@pytest.mark.parametrize('protocol', [3, 4, 5])
def test_a_snapshot_comes_back_as_plain_data(write, protocol):
    path = write(snapshot(), protocol=protocol)
    content = unpickle(path)
    assert list(content) == ['ema', 'loss_fn', 'augment_pipe', 'dataset_kwargs']
    assert content['dataset_kwargs'] == dict(path='imagenet-64x64.zip', use_labels=True)
    assert type(content['dataset_kwargs']) is dict
    assert content['loss_fn'].class_name == 'EDMLoss'
    assert content['loss_fn'].state == dict(P_mean=-1.2, P_std=1.2)
    assert type(content['loss_fn'].state['P_std']) is float
    ema = content['ema']
    assert (ema.class_name, ema.state['img_resolution']) == ('EDMPrecond', 16)
    encoder = ema.state['_modules']['model'].state['_modules']['enc']
    assert isinstance(encoder, RecordedObject)
    weight = encoder.state['_modules']['16x16_conv'].state['_parameters']['weight']
    assert torch.equal(weight, edm_state()['model.enc.16x16_conv.weight'])
    assert type(weight) is torch.Tensor


def test_the_source_in_the_file_is_not_run(write):
    path = write(snapshot())
    assert b'open("trace", "w")' in path.read_bytes()
    unpickle(path)
    assert os.listdir() == ['net.pkl']
    assert not any(name.startswith(('torch_utils', '_imported_module')) for name in sys.modules)


@pytest.mark.parametrize(
    'tensor',
    [
        torch.arange(6, dtype=torch.float16).view(2, 3),
        torch.arange(6.0).view(2, 3).T,
        torch.arange(6.0)[2:4],
        torch.tensor(3),
        torch.zeros(0, 2),
    ],
    ids=['half', 'transposed', 'part of a storage', 'scalar', 'empty'],
)
def test_tensors_of_all_kinds_come_back(write, tensor):
    path = write(dict(ema=Persistent('Net', dict(x=tensor))))
    read = unpickle(path)['ema'].state['x']
    assert read.dtype == tensor.dtype
    assert torch.equal(read, tensor)


@pytest.mark.parametrize('number', [np.float64(0.5), np.float32(0.5), np.int64(-3), np.bool_(True)])
def test_numbers_of_numpy_come_back(write, number):
    content = unpickle(write(dict(ema=Persistent('Net', dict(x=number)))))
    assert content['ema'].state == dict(x=number.item())


def test_files_of_old_numpy_are_read(write):
    path = write(snapshot(), protocol=3)
    path.write_bytes(path.read_bytes().replace(b'numpy._core.multiarray', b'numpy.core.multiarray'))
    assert unpickle(path)['loss_fn'].state['P_std'] == 1.2


@pytest.mark.parametrize(
    ('hostile', 'named'),
    [
        (Call(os.mkdir, 'trace'), r'posix\.mkdir'),
        (Call(eval, 'open("trace", "w")'), r'builtins\.eval'),
        (Call(getattr, {}, 'pop'), r'builtins\.getattr'),
        (Call(torch.load, 'other.pt'), r'torch\.serialization\.load'),
        (Call(torch.hub.load, 'some/repository', 'net'), r'torch\.hub\.load'),
        (Call(pickle.loads, b''), r'_pickle\.loads'),
        (torch.nn.Linear(1, 1), r'torch\.nn\.modules\.linear\.Linear'),
        (os.path.join, r'posixpath\.join'),
        (torch.device('cpu'), r'torch\.device'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_anything_else_is_named_and_refused(write, hostile, named):
    path = write(snapshot() | dict(augment_pipe=hostile))
    with pytest.raises(CheckpointError, match=rf'net\.pkl was refused.*asks for {named}') as caught:
        unpickle(path)
    assert '\n' not in str(caught.value)
    assert os.listdir() == ['net.pkl']


def test_code_within_a_tensor_is_refused(write):
    """EDM's tensors are whole files of torch's within the pickle."""
    torch.save(Call(os.mkdir, 'trace'), 'inner.pt', _use_new_zipfile_serialization=False)
    with open('inner.pt', 'rb') as file:
        inner = Call(torch.storage._load_from_bytes, file.read())
    path = write(dict(ema=Persistent('Net', dict(x=inner))))
    with pytest.raises(CheckpointError, match=r'was refused.*posix\.mkdir'):
        unpickle(path)
    assert 'trace' not in os.listdir()


def test_a_pickle_within_a_tensor_is_no_way_round(write):
    inner = Call(torch.storage._load_from_bytes, pickle.dumps(Call(os.mkdir, 'trace'), protocol=2))
    path = write(dict(ema=Persistent('Net', dict(x=inner))))
    with pytest.raises(CheckpointError, match=r'net\.pkl'):
        unpickle(path)
    assert os.listdir() == ['net.pkl']


def test_numpy_types_beyond_numbers_are_refused(write):
    """Objects of NumPy's are pointers, which a file must not choose."""
    hostile = Call(np.float64(0).__reduce__()[0], np.dtype('O'), bytes(8))
    path = write(dict(ema=Persistent('Net', dict(x=hostile))))
    with pytest.raises(CheckpointError, match=r"asks for NumPy objects of type 'O8'"):
        unpickle(path)


def test_a_tensor_cannot_reach_beyond_its_storage(write):
    arguments = torch.zeros(2).__reduce_ex__(4)[1]
    rebuild = torch._utils._rebuild_tensor_v2
    hostile = Call(rebuild, arguments[0], 0, (1000, 1000), (1000, 1), *arguments[4:])
    path = write(dict(ema=Persistent('Net', dict(x=hostile))))
    with pytest.raises(CheckpointError, match='is truncated or damaged'):
        unpickle(path)


@pytest.mark.parametrize('kept', [0.02, 0.5, 0.99])
def test_a_truncated_file_is_called_so(write, kept):
    path = write(snapshot())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=r'net\.pkl is truncated or damaged'):
        unpickle(path)


def test_no_damage_leads_anywhere_else(write):
    """Whatever single instruction is another one, the file is read or refused."""
    path = write(dict(ema=Persistent('Net', dict(x=torch.ones(2), n=np.float64(1)))))
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    places = [place for _, _, place in pickletools.genops(content)]
    for place in generator.choice(places, 60):
        damaged = bytearray(content)
        damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            unpickle(path)
    assert os.listdir() == ['net.pkl']


@pytest.mark.parametrize(
    'hostile',
    [
        Call(set, torch.zeros(3)),
        Call(torch.Size, torch.zeros(3)),
        Call(OrderedDict, [[(1, 2), 3]]),
        Call(HistoryBuffer, [1], [1]),
        [Call(codecs.encode, TEXT, 'latin1') for _ in range(10)],
    ],
    ids=['set', 'Size', 'OrderedDict', 'HistoryBuffer', 'encode'],
)
def test_what_makes_much_of_little_is_refused(write, hostile):
    """Once takes a moment; ten thousand references to one tensor or text would take all day."""
    with pytest.raises(CheckpointError, match=r'net\.pkl is truncated or damaged'):
        unpickle(write(dict(ema=hostile)))


def test_a_tensor_that_repeats_its_numbers_is_not_laid_out_anew(write):
    state = edm_state()
    state['model.map_label.weight'] = torch.zeros(1).expand(1 << 20, 1 << 20)
    path = write(snapshot(state))
    with pytest.raises(CheckpointError, match=r'net\.pkl'):
        read_document(path)
