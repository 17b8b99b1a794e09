"""Zip archives, of which checkpoints and batches are made: sound, and no larger than they look."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mmagic_adm.files.whole import CheckpointError, RefusedError, check_content, reading

# What a member may unpack to: so much, or so many times what it takes in the file.
_SMALL = 1 << 26
_MOST_TIMES = 100

_IS_ENCRYPTED = 1
_LOCAL_HEADER = struct.Struct('<26xHH')


@contextlib.contextmanager
def open_archive(
    path: Path, way_out: str = 'download or copy it again'
) -> Iterator[zipfile.ZipFile]:
    """Opens an archive of sound members; what goes wrong while it is open is the file's fault.

    The first time in a process that a file is opened, as long as it does not change, all of it is
    compared with the checksums that it carries.

    Args:
        path: The file.
        way_out: What to do about one that is damaged.

    Raises:
        CheckpointError: It is damaged, or unpacks to far more than it is.
    """
    check_content(path)
    with reading(path, way_out), zipfile.ZipFile(path) as archive:
        _check_members(archive)
        status = os.stat(path)
        if not _has_sums(os.path.realpath(path), status.st_size, status.st_mtime_ns):
            for member in archive.infolist():
                del member.CRC  # which would be compared with what is read
        yield archive


def place_of(archive: zipfile.ZipFile, name: str) -> tuple[int, int]:
    """Where in the file a member that is stored as it is begins, and its size."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'{name} is compressed')
    assert archive.fp is not None
    archive.fp.seek(member.header_offset)
    name_length, extra_length = _LOCAL_HEADER.unpack(archive.fp.read(_LOCAL_HEADER.size))
    begin = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    return begin, member.file_size


def _check_members(archive: zipfile.ZipFile) -> None:
    """Refuses what is written over one another, or unpacks to no end."""
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    begins = [member.header_offset for member in members]
    for member, end in zip(members, [*begins[1:], archive.start_dir], strict=True):
        name, packed, unpacked = member.filename, member.compress_size, member.file_size
        is_stored = member.compress_type == zipfile.ZIP_STORED
        if member.flag_bits & _IS_ENCRYPTED or (is_stored and packed != unpacked):
            raise ValueError(f'{name} is encrypted, or of two sizes')
        if member.header_offset + _LOCAL_HEADER.size + packed > end:
            raise ValueError(f'{name} overlaps what follows')
        if unpacked > max(_SMALL, _MOST_TIMES * packed):
            raise RefusedError(f'its {packed:,} bytes of {name} unpack to {unpacked:,}')
    if len(set(archive.namelist())) != len(members):
        raise ValueError('two members have one name')


@functools.lru_cache(maxsize=1024)
def _has_sums(path: str, size: int, changed: int) -> bool:
    """Whether there are checksums, with which all members were compared, once."""
    with zipfile.ZipFile(path) as archive:
        # torch.save can be told to leave them out, and writes zeros in place of them.
        has_sums = any(member.CRC for member in archive.infolist())
        if has_sums and (damaged := archive.testzip()):
            raise ValueError(f'{damaged} is not what its checksum says')
        return has_sums


def is_sound(path: Path) -> bool:
    """Whether all of an archive is what was written."""
    try:
        with open_archive(path):
            return True
    except CheckpointError:
        return False
