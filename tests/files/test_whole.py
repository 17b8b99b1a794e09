import errno
import hashlib
import json
import os
import shutil

import pytest

from mmagic_adm.files.whole import (
    CheckpointError,
    RefusedError,
    check_content,
    check_hash_in_name,
    hash_in_name,
    read_json,
    reading,
    write_json,
    written_whole,
)


def _file(folder, content, name='net.pt'):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (b'', 'is empty'),
        (b'\n<!DOCTYPE html><html>404</html>', 'is a web page'),
        (b'<html lang="en">', 'is a web page'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'git-lfs pointer'),
        (b'PK\x03\x04 and no end', 'is truncated'),
    ],
)
def test_what_came_in_place_of_a_file_is_called_what_it_is(tmp_path, content, complaint):
    path = _file(tmp_path, content)
    with pytest.raises(CheckpointError, match=complaint) as caught:
        check_content(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = _file(tmp_path, b'secret')

    def forbidden(*_):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(type(path), 'open', forbidden)
    with pytest.raises(CheckpointError, match=f'{path} cannot be read: Permission denied'):
        check_content(path)


@pytest.mark.parametrize(
    ('name', 'claimed'),
    [
        ('adm_8xb32_imagenet-256x256-f94735fe.pth', 'f94735fe'),
        ('https://host/a/net-7ff0080b.pth?download=true', '7ff0080b'),
        ('64x64_diffusion.pt', None),
        ('my-run-20240131.pth', None),
        ('lsun-nodropout.pt', None),
        ('net-7ff008.pth', None),
    ],
)
def test_the_hash_in_a_name(name, claimed):
    assert hash_in_name(name) == claimed


def test_a_file_must_be_what_its_name_claims(tmp_path):
    content = b'weights 3'
    digest = hashlib.sha256(content).hexdigest()
    assert not digest[:8].isdigit()
    check_hash_in_name(_file(tmp_path, content, f'net-{digest[:8]}.pth'))
    check_hash_in_name(_file(tmp_path, content, 'net.pth'))
    wrong = _file(tmp_path, content, 'net-deadbeef.pth')
    with pytest.raises(
        CheckpointError, match=f'begins with deadbeef, but it begins with {digest[:8]}'
    ):
        check_hash_in_name(wrong)


def _write(path, content, error=None, overwrite=False):
    with written_whole(path, len(content), overwrite) as file:
        file.write_bytes(content)
        if error:
            assert not path.exists() or overwrite
            raise error


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'net.pt'
    with pytest.raises(CheckpointError, match='interrupted'):
        _write(path, b'ab', RuntimeError('interrupted'))
    assert os.listdir(tmp_path) == []
    _write(path, b'abcd')
    assert os.listdir(tmp_path) == ['net.pt']


def test_a_file_is_replaced_only_when_told(tmp_path):
    path = _file(tmp_path, b'precious')
    with pytest.raises(CheckpointError, match='exists'):
        _write(path, b'new')
    with pytest.raises(CheckpointError, match='halfway'):
        _write(path, b'new', RuntimeError('halfway'), overwrite=True)
    assert path.read_bytes() == b'precious'
    _write(path, b'new', overwrite=True)
    assert path.read_bytes() == b'new'


def _full_disk():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _hidden_behind_torchs():
    error = RuntimeError('unexpected pos 704 vs 598')
    error.__context__ = _full_disk()
    return error


@pytest.mark.parametrize(
    'error',
    [
        _full_disk(),
        _hidden_behind_torchs(),
        RuntimeError('I/O error: No space left on device (os error 28)'),
    ],
)
def test_a_full_disk_is_called_so_however_it_is_reported(tmp_path, error):
    with pytest.raises(CheckpointError, match='the disk is full'):
        _write(tmp_path / 'net.pt', b'ab', error)
    assert os.listdir(tmp_path) == []


def test_a_file_that_will_not_fit_is_not_begun(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(CheckpointError, match='it needs 4 bytes, and 3 are free'):
        _write(tmp_path / 'net.pt', b'abcd')


def test_json_is_written_whole_and_replaced_when_told(tmp_path):
    path = tmp_path / 'figures.json'
    write_json(path, {'FID': 2.07, 'name': 'ä'}, overwrite=False)
    assert json.loads(path.read_text()) == {'FID': 2.07, 'name': 'ä'}
    with pytest.raises(CheckpointError, match='exists'):
        write_json(path, {}, overwrite=False)
    with pytest.raises(TypeError):
        write_json(path, {'a': object()}, overwrite=True)
    assert json.loads(path.read_text())['FID'] == 2.07


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f'no folder {tmp_path / "nowhere"}'):
        _write(tmp_path / 'nowhere' / 'net.pt', b'ab')


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'[1]',
        b'3',
        b'{"a": 1',
        b'\xff\xfe',
        b'[' * 100_000,
        b'{"a":' * 200 + b'1' + b'}' * 200,
    ],
    ids=['nothing', 'a list', 'a number', 'half', 'no text', 'no end', 'too deep'],
)
def test_json_that_is_none_is_named_with_the_way_out(tmp_path, content):
    (tmp_path / 'run.json').write_bytes(content)
    with pytest.raises(CheckpointError, match=r'run\.json is truncated or damaged .*; begin anew$'):
        read_json(tmp_path / 'run.json', 'begin anew')


def test_json_comes_back_as_it_was_written(tmp_path):
    content = {'a': [1, {'b': None}], 'c': 'd'}
    write_json(tmp_path / 'a.json', content, overwrite=False)
    assert read_json(tmp_path / 'a.json', '') == content


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (MemoryError(), r'there is no memory for .*a\.pt'),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 'there is no memory for'),
        (RefusedError('it asks for os.system'), r'a\.pt was refused, .* asks for os\.system\. Get'),
        (KeyError('x'), r'a\.pt is truncated or damaged \(3 bytes\); download or copy it again'),
        (CheckpointError('said already'), '^said already$'),
    ],
)
def test_whatever_goes_wrong_while_a_file_is_read_names_it(tmp_path, error, said):
    (tmp_path / 'a.pt').write_bytes(b'abc')
    with pytest.raises(CheckpointError, match=said), reading(tmp_path / 'a.pt'):
        raise error
