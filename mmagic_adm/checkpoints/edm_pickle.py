"""EDM's pickles as plain data: what objects they hold, without the code they bring along."""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.files.whole import CheckpointError, truncated


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


def read_edm_pickle(path: Path, map_location: Any = 'cpu') -> Any:
    """What a pickle of EDM's kind holds: tensors, numbers, text, and objects as their record.

    Raises:
        CheckpointError: The file is damaged, or asks for anything else; nothing of it was run.
    """
    try:
        with path.open('rb') as file:
            return _Unpickler(file, map_location).load()
    except _RefusedError as error:
        raise CheckpointError(
            f'{path} was refused, and nothing of it was run: beside tensors, numbers and text it '
            f'asks for {error}. Get the file from a source you trust'
        ) from error
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        # There is no end to what damage in a file can make of it.
        raise truncated(path) from error


class _RefusedError(Exception):
    """The file asks for what no network needs; its message names that."""


class _Unpickler(pickle.Unpickler):
    """Hands out stand-ins for the few things that such a file may name, and nothing else."""

    def __init__(self, file: io.BufferedReader, map_location: Any) -> None:
        super().__init__(file)
        self._map_location = map_location

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('torch.storage', '_load_from_bytes'):
            return self._load_storage
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(f'{module}.{name}') from None

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError('an object outside of it')

    def _load_storage(self, content: bytes) -> torch.TypedStorage:
        """Reads a file of torch's inside the file, as warily as one that stands alone."""
        stream = io.BytesIO(content)
        try:
            storage = torch.load(stream, map_location=self._map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            named = re.search(r'GLOBAL (\S+)', str(error))
            raise _RefusedError(f'{named[1]} in a tensor') if named else error from error
        return _checked(storage, torch.TypedStorage)


def _recorded(meta: dict[str, Any]) -> RecordedObject:
    """Instead of running the source in ``meta``, what it would be run for."""
    record = RecordedObject()
    record.class_name = _checked(meta['class_name'], str)
    record.__setstate__(meta['state'])
    return record


def _tensor(
    storage: torch.TypedStorage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    *_: Any,
) -> Tensor:
    # Not its public method, with which torch warns that storages will have no types some day.
    untyped = _checked(storage, torch.TypedStorage)._untyped_storage
    # A view of the whole storage cannot reach beyond it.
    whole = torch.empty(0, dtype=storage.dtype, device=untyped.device).set_(untyped)
    return whole.as_strided(size, stride, offset)


class _NumberType:
    """NumPy's type of a number."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in {'b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8'}:
            raise _RefusedError(f'NumPy objects of type {code!r}')
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # The version of this layout, then the byte order.
        self.code = ('>' if state[1] == '>' else '<') + self.code


def _number(type_: _NumberType, content: bytes) -> Any:
    return np.frombuffer(content, _checked(type_, _NumberType).code, count=1)[0].item()


def _checked(value: Any, type_: type) -> Any:
    if not isinstance(value, type_):
        raise TypeError(f'a {type(value).__name__} in place of a {type_.__name__}')
    return value


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ('torch_utils.persistence', '_reconstruct_persistent_obj'): _recorded,
    # torch's own modules need no source in the file.
    ('torch.nn.modules.container', 'ModuleDict'): RecordedObject,
    ('torch.nn.modules.container', 'ModuleList'): RecordedObject,
    ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_parameter'): lambda data, *_: _checked(data, Tensor),
    ('collections', 'OrderedDict'): OrderedDict,
    ('dnnlib.util', 'EasyDict'): dict,
    ('builtins', 'set'): set,
    ('numpy', 'dtype'): _NumberType,
    # NumPy called the module of its core by the first name before 2.0, and by the second since.
    ('numpy.core.multiarray', 'scalar'): _number,
    ('numpy._core.multiarray', 'scalar'): _number,
}
