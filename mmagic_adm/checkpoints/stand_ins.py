"""What stands in for what a pickle names: data in place of objects, and nothing that runs.

A file chooses the arguments, and what becomes of the results. So whatever is in the table takes any
arguments in time linear in their size, and makes nothing that is larger than they are.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmagic_adm.files.whole import RefusedError

T = TypeVar('T')


def checked(value: Any, kind: type[T]) -> T:
    """A value that is of the kind that is wanted."""
    if not isinstance(value, kind):
        raise TypeError(f'a {type(value).__name__} in place of a {kind.__name__}')
    return value


def check_order(is_little: bool) -> None:
    """Refuses numbers of the other order of bytes."""
    if not is_little:
        raise RefusedError('its numbers have their largest byte first, as is not read here')


class RecordedObject:
    """An object of the file: its class's name, and its attributes."""

    class_name: str = ''
    state: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = checked(state, dict)

    def dict_in(self, name: str) -> dict[str, Any]:
        """An attribute that is a dict, if it is one."""
        value = self.state.get(name)
        return value if isinstance(value, dict) else {}


def _recorded(meta: dict[str, Any]) -> RecordedObject:
    """Instead of running the source in ``meta``, what it would be run for."""
    record = RecordedObject()
    record.class_name = checked(meta['class_name'], str)
    record.__setstate__(meta['state'])
    return record


def _tensor(
    numbers: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    """A view of a storage, beyond which it cannot reach."""
    return checked(numbers, Tensor).as_strided(size, stride, offset)


class _NumberType:
    """NumPy's type of a number, or of text."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r'b1|[iu][1248]|f[248]|U[1-9]\d{0,3}', code):
            raise RefusedError(f'it asks for NumPy objects of type {code!r}')
        self.code = f'<{code}'

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # The version of this layout, then the byte order.
        check_order(state[1] != '>')


def _number(kind: _NumberType, content: bytes) -> Any:
    return np.frombuffer(content, checked(kind, _NumberType).code, count=1)[0].item()


class _Array(np.ndarray):
    """An array, which pickles as NumPy's own do."""

    def __new__(cls, *_: Any) -> _Array:
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, kind, is_fortran, data = state
        dtype = np.dtype(checked(kind, _NumberType).code)
        super().__setstate__((version, shape, dtype, is_fortran, checked(data, bytes)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)


class _History(HistoryBuffer):
    """MMEngine's log history, before it is known."""

    def __init__(self) -> None:
        """Takes nothing, of which MMEngine's would make copies."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.max_length = checked(state['max_length'], int)
        self._log_history, self._count_history = (
            np.asarray(checked(state[name], np.ndarray))
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


def _ordered(pairs: Any = ()) -> OrderedDict[str, Any]:
    """A dict that pickle fills later, or from pairs, as Python 2 had it."""
    return OrderedDict((checked(key, str), value) for key, value in _together(pairs))


def _together(items: Any = ()) -> tuple[Any, ...]:
    """Items of a list or tuple: a tensor has too many, and a set would want their hashes."""
    return items if isinstance(items, tuple) else tuple(checked(items, list))


ENCODE, LOAD = '_codecs.encode', 'torch.storage._load_from_bytes'

_STORAGES = dict(
    Double=torch.float64, Float=torch.float32, Half=torch.float16, BFloat16=torch.bfloat16,
    Long=torch.int64, Int=torch.int32, Short=torch.int16, Char=torch.int8, Byte=torch.uint8,
    Bool=torch.bool, ComplexFloat=torch.complex64, ComplexDouble=torch.complex128,
)  # fmt: skip

# What is made of each, and may be given a state or items afterwards, or may not.
OBJECTS: dict[str, Callable[..., Any]] = {
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
    'builtins.set': _together,
    'collections.Counter': lambda counts: Counter(checked(counts, dict)),
    'numpy.core.multiarray.scalar': _number,
    'numpy._core.multiarray.scalar': _number,
    'numpy.ndarray': None,
    'torch.Size': _together,
    'torch._utils._rebuild_parameter': lambda data, *_: checked(data, Tensor),
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch_utils.persistence._reconstruct_persistent_obj': _recorded,
    ENCODE: None,
    LOAD: None,
}
STAND_INS = OBJECTS | _VALUES
