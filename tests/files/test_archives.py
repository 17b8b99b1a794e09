import os
import struct
import zipfile
import zlib

import pytest
import torch

from mmagic_adm.files.archives import open_archive, place_of
from mmagic_adm.files.whole import CheckpointError

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('first', CONTENT)
        archive.writestr('second', CONTENT[::-1])
    return tmp_path / 'a.zip'


def patch(path, mark, offset, value, size):
    """Writes a number behind the last place that begins with the mark."""
    data = bytearray(path.read_bytes())
    at = data.rindex(mark) + offset
    data[at : at + size] = value.to_bytes(size, 'little')
    path.write_bytes(data)


def read_all(path):
    with open_archive(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def test_members_are_read_and_found_in_the_file(archive):
    assert read_all(archive) == [CONTENT, CONTENT[::-1]]
    with open_archive(archive) as opened:
        begin, size = place_of(opened, 'second')
    assert archive.read_bytes()[begin : begin + size] == CONTENT[::-1]


CENTRAL, LOCAL = b'PK\x01\x02', b'PK\x03\x04'


@pytest.mark.parametrize(
    ('mark', 'offset', 'value', 'size'),
    [
        (CENTRAL, 8, 1, 2),  # encrypted
        (CENTRAL, 10, 99, 2),  # compressed in an unknown way
        (CENTRAL, 20, 5, 4),  # shorter than it unpacks to, though it is not packed
        (CENTRAL, 24, 1 << 31, 4),  # longer than the file
        (CENTRAL, 42, 0, 4),  # at the place of the first
        (CENTRAL, 16, 7, 4),  # another checksum
        (LOCAL, 26, 1000, 2),  # a name that goes on for long
        (LOCAL, 200, 0, 1),  # another byte of the content
    ],
)
def test_an_archive_that_lies_is_damaged(mark, offset, value, size, archive):
    patch(archive, mark, offset, value, size)
    with pytest.raises(CheckpointError, match=r'a\.zip is truncated or damaged .*copy it again'):
        read_all(archive)


def test_two_members_of_one_name_are_none(archive):
    with pytest.warns(UserWarning, match='Duplicate'), zipfile.ZipFile(archive, 'a') as opened:
        opened.writestr('first', b'another')
    with pytest.raises(CheckpointError, match='damaged'):
        read_all(archive)


def test_what_unpacks_to_no_end_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / 'bomb.zip'
    with (
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open('net/data.pkl', 'w') as file,
    ):
        for _ in range(100):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(CheckpointError, match=r'bomb\.zip was refused.*unpack to 104,857,600'):
        read_all(path)


def test_checksums_are_compared_once_and_again_after_a_change(archive, monkeypatch):
    passes = []
    check = zipfile.ZipFile.testzip
    monkeypatch.setattr(zipfile.ZipFile, 'testzip', lambda self: passes.append(1) or check(self))
    read_all(archive)
    read_all(archive)
    assert len(passes) == 1
    os.utime(archive, ns=(0, 0))
    read_all(archive)
    assert len(passes) == 2


def test_torchs_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(a=torch.ones(3)), tmp_path / 'net.pt')
    finally:
        torch.serialization.set_crc32_options(True)
    assert len(read_all(tmp_path / 'net.pt')) > 2


def test_a_member_that_goes_on_over_the_next_is_damage(archive):
    """So many members, one over another, would unpack to a multiple of the file each."""
    data = archive.read_bytes()
    begin = data.index(CONTENT)
    beyond = data[begin : data.index(CONTENT[::-1]) + 100]
    entry = data.index(CENTRAL)
    sizes = struct.pack('<III', zlib.crc32(beyond), len(beyond), len(beyond))
    archive.write_bytes(data[: entry + 16] + sizes + data[entry + 28 :])
    with zipfile.ZipFile(archive) as opened:
        assert opened.read('first') == beyond
    with pytest.raises(CheckpointError, match='damaged'):
        read_all(archive)
