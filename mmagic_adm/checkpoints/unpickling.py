"""Pickles as plain data: tensors, numbers, text, and objects as their record; no code of theirs.

Each is followed first (:mod:`mmagic_adm.files.pickles`), and read only if it keeps within bounds
and asks for nothing but what stands in a table, which has something of ours in place of each.
"""

from __future__ import annotations

import mmap
import pickle
import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmagic_adm.files.archives import open_archive, place_of
from mmagic_adm.files.pickles import Bytes, Stream, outline
from mmagic_adm.files.whole import ZIP, RefusedError, check_content, reading

# What torch.save's files begin with that are no archives.
_NUMBER = 0x1950A86A20F9469CFC6C

T = TypeVar('T')
# Gives the numbers of a storage, in a row, by its key, type and count.
Storages = Callable[[str, torch.dtype, int], Tensor]


class RecordedObject:
    """An object of the file: its class's name, and its attributes."""

    class_name: str = ''
    state: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = _checked(state, dict)

    def dict_in(self, name: str) -> dict[str, Any]:
        """An attribute that is a dict, if it is one."""
        value = self.state.get(name)
        return value if isinstance(value, dict) else {}


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
            _check_order(archive.read(f'{folder}/byteorder') == b'little')
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
    _check_order(system['little_endian'])
    for key in keys:
        (count,) = struct.unpack('<q', stream.read(8))
        numbers = _counted(made[key], made[key].dtype, count)
        numbers.view(torch.uint8).numpy()[:] = np.frombuffer(stream.read(numbers.nbytes), np.uint8)
    return content


def _check_order(is_little: bool) -> None:
    if not is_little:
        raise RefusedError('its numbers have their largest byte first, as is not read here')


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
        strangers = sorted(asked.names - _STAND_INS.keys())
        if strangers or (strangers := sorted(asked.changed - _OBJECTS.keys())):
            names = ', '.join(name[:80] for name in strangers[:3])
            raise RefusedError(f'it asks for {names}{", …" if strangers[3:] else ""}')
        stream.seek(begin)
        super().__init__(stream, encoding='utf-8')
        self._storages = storages
        self._bytes_left = len(stream)

    def find_class(self, module: str, name: str) -> Any:
        full = f'{module.replace("__builtin__", "builtins")}.{name}'
        # What makes bytes of a file's own makes no more than it has, however often it is called.
        return {_ENCODE: self._encoded, _LOAD: self._loaded}.get(full) or _STAND_INS[full]

    def persistent_load(self, pid: tuple[Any, ...]) -> Tensor:
        kind, dtype, key, _, count, *view = pid
        if kind != 'storage' or any(view) or self._storages is None:
            raise RefusedError('it asks for an object outside of it')
        return self._storages(
            _checked(key, str), _checked(dtype, torch.dtype), _checked(count, int)
        )

    def _encoded(self, text: str, encoding: str) -> bytes:
        """Bytes, as protocol 2 has them."""
        self._spend(len(text))
        return text.encode('latin1')

    def _loaded(self, content: bytes) -> Tensor:
        """Reads a storage, which is a file of torch.save inside the file."""
        if self._storages is not None:
            raise RefusedError('it holds files within files')
        self._spend(len(content))
        return _checked(_read_legacy(Bytes(content)), Tensor)

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ValueError('it makes more bytes than it has')


def _recorded(meta: dict[str, Any]) -> RecordedObject:
    """Instead of running the source in ``meta``, what it would be run for."""
    record = RecordedObject()
    record.class_name = _checked(meta['class_name'], str)
    record.__setstate__(meta['state'])
    return record


def _tensor(
    numbers: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    """A view of a storage, beyond which it cannot reach."""
    return _checked(numbers, Tensor).as_strided(size, stride, offset)


class _NumberType:
    """NumPy's type of a number, or of text."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r'b1|[iu][1248]|f[248]|U[1-9]\d{0,3}', code):
            raise RefusedError(f'it asks for NumPy objects of type {code!r}')
        self.code = f'<{code}'

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # The version of this layout, then the byte order.
        _check_order(state[1] != '>')


def _number(kind: _NumberType, content: bytes) -> Any:
    return np.frombuffer(content, _checked(kind, _NumberType).code, count=1)[0].item()


class _Array(np.ndarray):
    """An array, which pickles as NumPy's own do."""

    def __new__(cls, *_: Any) -> _Array:
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, kind, is_fortran, data = state
        dtype = np.dtype(_checked(kind, _NumberType).code)
        super().__setstate__((version, shape, dtype, is_fortran, _checked(data, bytes)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)


class _History(HistoryBuffer):
    """MMEngine's log history, before it is known."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.max_length = _checked(state['max_length'], int)
        self._log_history, self._count_history = (
            np.asarray(_checked(state[name], np.ndarray))
            for name in ('_log_history', '_count_history')
        )
        self._set_default_statistics()
        self.__class__ = HistoryBuffer


def _statistic(owner: Any, name: str) -> None:
    """What ``getattr`` is for in a checkpoint: the statistics of a log history, which it has."""
    if owner is not _History or name not in ('min', 'max', 'current', 'mean'):
        raise RefusedError('it asks for builtins.getattr')


class _EasyDict:
    """Makes the plain dict that EDM's own is."""

    def __new__(cls) -> dict:  # type: ignore[misc]
        return {}


def _ordered(pairs: list[Any] = []) -> OrderedDict[str, Any]:  # noqa: B006
    return OrderedDict((_checked(key, str), value) for key, value in pairs)


def _checked(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f'a {type(value).__name__} in place of a {kind.__name__}')
    return value


_ENCODE, _LOAD = '_codecs.encode', 'torch.storage._load_from_bytes'

_STORAGES = dict(
    Double=torch.float64, Float=torch.float32, Half=torch.float16, BFloat16=torch.bfloat16,
    Long=torch.int64, Int=torch.int32, Short=torch.int16, Char=torch.int8, Byte=torch.uint8,
    Bool=torch.bool, ComplexFloat=torch.complex64, ComplexDouble=torch.complex128,
)  # fmt: skip

# What is made of each, and may be given a state or items afterwards, or may not.
_OBJECTS: dict[str, Callable[..., Any]] = {
    'collections.OrderedDict': _ordered,
    'dnnlib.util.EasyDict': _EasyDict,
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'numpy.dtype': _NumberType,
    # NumPy called the module of its core by the first name before 2.0, and by the second since.
    'numpy.core.multiarray._reconstruct': _Array,
    'numpy._core.multiarray._reconstruct': _Array,
    # torch's own modules need no source in the file.
    'torch.nn.modules.container.ModuleDict': RecordedObject,
    'torch.nn.modules.container.ModuleList': RecordedObject,
}
_VALUES: dict[str, Any] = {
    **{f'torch.{name}Storage': dtype for name, dtype in _STORAGES.items()},
    **{str(dtype): dtype for dtype in _STORAGES.values()},
    'builtins.getattr': _statistic,
    'builtins.set': tuple,  # without the hashes of what is in it
    'collections.Counter': lambda counts: Counter(_checked(counts, dict)),
    'numpy.core.multiarray.scalar': _number,
    'numpy._core.multiarray.scalar': _number,
    'numpy.ndarray': None,
    'torch.Size': tuple,
    'torch._utils._rebuild_parameter': lambda data, *_: _checked(data, Tensor),
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch_utils.persistence._reconstruct_persistent_obj': _recorded,
    _ENCODE: None,
    _LOAD: None,
}
_STAND_INS = _OBJECTS | _VALUES
