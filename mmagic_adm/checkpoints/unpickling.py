"""Pickles as plain data: tensors, numbers, text, and objects as their record; no code of theirs.

Each is followed first (:mod:`mmagic_adm.files.pickles`), and read only if it keeps within bounds
and asks for nothing but what stands in a table, which has something of ours in place of each.
"""

from __future__ import annotations

import mmap
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.checkpoints.stand_ins import (
    ENCODE,
    LOAD,
    OBJECTS,
    STAND_INS,
    check_order,
    checked,
)
from mmagic_adm.files.archives import open_archive, place_of
from mmagic_adm.files.pickles import Bytes, Stream, outline
from mmagic_adm.files.whole import ZIP, RefusedError, check_content, reading

# What torch.save's files begin with that are no archives.
_NUMBER = 0x1950A86A20F9469CFC6C

# Gives the numbers of a storage, in a row, by its key, type and count.
Storages = Callable[[str, torch.dtype, int], Tensor]


def unpickle(path: Path, mapped: bool = False) -> Any:
    """What ``torch.save`` or ``pickle.dump`` put into a file, as plain data.

    Args:
        path: The file.
        mapped: Whether to map tensors from an archive, which must then stay as it is while they
            are in use, in place of copying them.

    Raises:
        CheckpointError: The file is damaged, or asks for anything else; nothing of it was run.
    """
    if check_content(path).startswith(ZIP):
        return _read_archive(path, mapped)
    with (
        reading(path),
        path.open('rb') as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        return _read_stream(stream)


def pickle_in(path: Path) -> bytes:
    """The pickle in a file, or as much of it as has its names."""
    with path.open('rb') as file:
        if file.read(len(ZIP)) != ZIP:
            file.seek(0)
            return file.read(1 << 22)
    with open_archive(path) as archive:
        return archive.read(f'{_folder_in(archive.namelist())}/data.pkl')


def _read_archive(path: Path, mapped: bool) -> Any:
    """Reads the pickle in an archive, and each storage from a file of its own in it."""
    with open_archive(path) as archive:
        names = archive.namelist()
        folder = _folder_in(names)
        if f'{folder}/byteorder' in names:
            check_order(archive.read(f'{folder}/byteorder') == b'little')
        whole = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
        made: dict[str, Tensor] = {}

        def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
            if key not in made:
                begin, size = place_of(archive, f'{folder}/data/{key}')
                part = whole[begin : begin + size]
                made[key] = _in_a_row(part if mapped and not begin % 8 else part.clone(), dtype)
            return _counted(made[key], dtype, count)

        content = Bytes(archive.read(f'{folder}/data.pkl'))
        return _Unpickler(content, storage).load()


def _folder_in(names: list[str]) -> str:
    folders = [name.removesuffix('/data.pkl') for name in names if name.endswith('/data.pkl')]
    if len(folders) != 1:
        raise RefusedError('it is a zip archive, but not one that torch.save made')
    return folders[0]


def _read_stream(stream: Stream) -> Any:
    """Reads a pickle that stands alone, or a file of torch.save from before archives."""
    content = _Unpickler(stream).load()
    if not (isinstance(content, int) and content == _NUMBER):
        return content
    stream.seek(0)
    return _read_legacy(stream)


def _read_legacy(stream: Stream) -> Any:
    """Reads a row of five pickles: the fourth is the content, and storages follow the last."""
    made: dict[str, Tensor] = {}
    left = len(stream)

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        nonlocal left
        if key not in made:
            left -= count * dtype.itemsize
            if count < 0 or left < 0:
                raise ValueError(f'{count} numbers are more than the file has')
            made[key] = torch.empty(count, dtype=dtype)
        return _counted(made[key], dtype, count)

    number, _, system, content, keys = (_Unpickler(stream, storage).load() for _ in range(5))
    if number != _NUMBER or set(keys) != made.keys():
        raise ValueError('not a file of torch.save, or not with the storages that it names')
    check_order(system['little_endian'])
    for key in keys:
        (count,) = struct.unpack('<q', stream.read(8))
        numbers = _counted(made[key], made[key].dtype, count)
        numbers.view(torch.uint8).numpy()[:] = np.frombuffer(stream.read(numbers.nbytes), np.uint8)
    return content


def _in_a_row(storage: torch.UntypedStorage, dtype: torch.dtype) -> Tensor:
    return torch.empty(0, dtype=dtype).set_(storage)


def _counted(numbers: Tensor, dtype: torch.dtype, count: int) -> Tensor:
    if numbers.dtype != dtype or numbers.numel() != count:
        raise ValueError(f'{count} numbers of {dtype} are not {numbers.numel()} of {numbers.dtype}')
    return numbers


class _Unpickler(pickle.Unpickler):
    """Follows the next pickle of a stream, and then reads it, by way of the table."""

    def __init__(self, stream: Stream, storages: Storages | None = None) -> None:
        begin = stream.tell()
        asked = outline(stream)
        strangers = sorted(asked.names - STAND_INS.keys())
        if strangers or (strangers := sorted(asked.changed - OBJECTS.keys())):
            names = ', '.join(name[:80] for name in strangers[:3])
            raise RefusedError(f'it asks for {names}{", …" if strangers[3:] else ""}')
        stream.seek(begin)
        super().__init__(stream, encoding='utf-8')
        self._storages = storages
        self._bytes_left = len(stream)

    def find_class(self, module: str, name: str) -> Any:
        full = f'{module.replace("__builtin__", "builtins")}.{name}'
        # What makes bytes of a file's own makes no more than it has, however often it is called.
        return {ENCODE: self._encoded, LOAD: self._loaded}.get(full) or STAND_INS[full]

    def persistent_load(self, pid: tuple[Any, ...]) -> Tensor:
        kind, dtype, key, _, count, *view = pid
        if kind != 'storage' or any(view) or self._storages is None:
            raise RefusedError('it asks for an object outside of it')
        return self._storages(checked(key, str), checked(dtype, torch.dtype), checked(count, int))

    def _encoded(self, text: str, encoding: str) -> bytes:
        """Bytes, as protocol 2 has them."""
        self._spend(len(checked(text, str)))
        return text.encode('latin1')

    def _loaded(self, content: bytes) -> Tensor:
        """Reads a storage, which is a file of torch.save inside the file."""
        if self._storages is not None:
            raise RefusedError('it holds files within files')
        self._spend(len(checked(content, bytes)))
        return checked(_read_legacy(Bytes(content)), Tensor)

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ValueError('it makes more bytes than it has')
