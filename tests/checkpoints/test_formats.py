"""A format of one's own is one class."""

import numpy as np
import pytest
import torch

from mmagic_adm.checkpoints import (
    CheckpointError,
    Document,
    Format,
    checkpoint,
    load_network,
    read_checkpoint,
    register_format,
    write_checkpoint,
)
from mmagic_adm.checkpoints.checkpoint import writable_layouts
from mmagic_adm.registry import MODELS
from tests.checkpoints.conftest import UNET, assert_same_tensors, network_config


@pytest.fixture(autouse=True)
def _formats_of_before(monkeypatch):
    monkeypatch.setattr(checkpoint, 'FORMATS', list(checkpoint.FORMATS))


@pytest.fixture
def npz_format():
    @register_format
    class NpzFile(Format):
        layout = 'npz'
        is_written = True

        def knows(self, path, head):
            return head.startswith(b'PK') and 'version.npy' in np.load(path).zip.namelist()

        def read(self, path, mmap=True):
            with np.load(path, allow_pickle=False) as arrays:
                tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
            return Document(tensors, meta={'version': int(tensors.pop('version'))})

        def write(self, path, networks, metadata):
            (state,) = networks.values()
            arrays = {key: tensor.numpy() for key, tensor in state.items()}
            with path.open('wb') as file:
                np.savez(file, version=1, **arrays)


@pytest.mark.usefixtures('npz_format')
def test_a_network_is_written_and_loaded_in_a_format_of_ones_own(tmp_path, unet_state):
    path = write_checkpoint(unet_state, tmp_path / 'net.npz', 'npz')
    network = MODELS.build({'_scope_': 'mmagic_adm', **network_config(UNET)})
    report = load_network(network, path)
    assert (report.layout, report.loaded) == ('npz', len(unet_state))
    assert_same_tensors(dict(network.state_dict()), unet_state)
    assert read_checkpoint(path).metadata == {'version': 1}


@pytest.mark.usefixtures('npz_format')
def test_the_others_are_known_as_before(unet_file, mmagic_file):
    assert read_checkpoint(unet_file).layout == 'openai'
    assert read_checkpoint(mmagic_file).layout == 'mmagic'
    assert writable_layouts() == ['openai', 'mmagic', 'safetensors', 'npz']


def test_what_is_read_alone_is_not_written(tmp_path, unet_state):
    with pytest.raises(ValueError, match="one of openai, mmagic, safetensors, not 'edm'"):
        write_checkpoint(unet_state, tmp_path / 'net.pkl', 'edm')


def test_without_the_format_its_files_are_no_checkpoints(tmp_path):
    np.savez(tmp_path / 'net.npz', version=1)
    with pytest.raises(CheckpointError, match=r'not one that torch\.save made'):
        read_checkpoint(tmp_path / 'net.npz')
