"""Files of ``torch.save``: OpenAI's state dicts, and checkpoints of MMEngine and MMagic."""

import ast
import io
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch.serialization import safe_globals

from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.parts import (
    MMAGIC_MARK,
    Networks,
    kind_of,
    mmagic_name,
    under_prefixes,
)
from mmagic_adm.files.whole import CheckpointError, truncated

_ZIP = b'PK\x03\x04'

# The last pickle protocol that torch's weights-only reader understands; torch.save uses 2.
_NEWEST_PROTOCOL = 3


class OpenAIFile(Format):
    """One network's state dict, and nothing else."""

    layout = 'openai'
    is_written = True
    # Names that are in such a file.
    marks: tuple[str, ...] = ()

    def knows(self, path: Path, head: bytes) -> bool:
        """Looks for the names in the file's pickle, of which nothing is run."""
        if not head.startswith((_ZIP, pickle.PROTO)):
            return False
        stream = _pickle_stream(path) if self.marks else b''
        return all(mark.encode() in stream for mark in self.marks)

    def read(self, path: Path, map_location: Any = 'cpu', mmap: bool = True) -> Document:
        """Reads a state dict, or a runner's checkpoint that has one."""
        content = unpickle(path, map_location, mmap)
        if not isinstance(content, dict):
            raise CheckpointError(f'{path} holds a {type(content).__name__}, not a state dict')
        if 'state_dict' not in content:
            return Document(content)
        others = dict(content)
        state_dict, meta = others.pop('state_dict'), others.pop('meta', None)
        if not isinstance(state_dict, dict):
            raise CheckpointError(
                f"{path}: its 'state_dict' is a {type(state_dict).__name__}, not a dict"
            )
        if isinstance(meta, dict) and isinstance(meta.get('cfg'), str):
            meta = {**meta, 'config': recorded_model(meta['cfg'])}
        return Document(state_dict, meta if isinstance(meta, dict) else {}, others)

    def write(self, path: Path, networks: Networks, metadata: Mapping[str, Any]) -> None:
        """Writes the only network, without its prefix."""
        if len(networks) > 1:
            raise ValueError(
                'a file in the layout openai is one network, and this is '
                f'{" and ".join(networks)}; choose one by its prefix'
            )
        if metadata:
            raise ValueError('the layout openai has no place for metadata')
        (state,) = networks.values()
        _save(state, path)


class RunnerFile(OpenAIFile):
    """A checkpoint of MMEngine's runner: networks under prefixes, and the state of a training."""

    layout = 'mmengine'
    is_written = False
    marks = ('state_dict',)


class MMagicFile(OpenAIFile):
    """Networks under the prefixes of a model's parts, the U-Net under MMagic's names."""

    layout = 'mmagic'
    marks = (MMAGIC_MARK,)

    def write(self, path: Path, networks: Networks, metadata: Mapping[str, Any]) -> None:
        """Writes ADM's networks; MMagic has names for no others."""
        renamed = {}
        for part, state in networks.items():
            kind = kind_of(state)
            renamed[part or kind] = {mmagic_name(key, kind): state[key] for key in state}
        _save(dict(state_dict=under_prefixes(renamed), meta=dict(metadata)), path)


def _save(content: Mapping[str, Any], path: Path) -> None:
    # Through a file of Python's, which tells why it could not write.
    with path.open('wb') as file:
        torch.save(content, file)


def recorded_model(text: str) -> dict[str, Any]:
    """The model in a config that a runner wrote down as Python; empty unless it is values alone.

    Args:
        text: The Python, which is read and not run.
    """
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == 'model':
                model = ast.literal_eval(_DictCalls().visit(statement.value))
                return model if isinstance(model, dict) else {}
    except (SyntaxError, ValueError, RecursionError):
        pass
    return {}


class _DictCalls(ast.NodeTransformer):
    """Writes ``dict(name=value)``, as MMEngine has it, as a literal."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        is_dict = isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args
        if not is_dict or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError('not a plain value')
        names: list[ast.expr | None] = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(names, [keyword.value for keyword in node.keywords])


def unpickle(path: Path, map_location: Any = 'cpu', mmap: bool = False) -> Any:
    """What ``torch.save`` put into a file: tensors, plain Python, and MMEngine's log history.

    Raises:
        CheckpointError: The file is damaged, or asks for code to be run; none of it was.
    """
    stream = _pickle_stream(path)
    if stream[:1] == pickle.PROTO and stream[1] > _NEWEST_PROTOCOL:
        raise _refused(path, _calls(stream) or [f'what pickle protocol {stream[1]} has in it'])
    try:
        with safe_globals(_MMENGINE_GLOBALS):
            return torch.load(
                path,
                map_location=map_location,
                weights_only=True,
                mmap=mmap and zipfile.is_zipfile(path),
            )
    except pickle.UnpicklingError as error:
        named = re.search(r'GLOBAL (\S+)', str(error))
        calls = [named[1]] if named else _calls(stream)
        raise (_refused(path, calls) if calls else truncated(path)) from error
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        # There is no end to what damage in a file can make of it.
        raise truncated(path) from error


def _history_statistic(owner: Any, name: str) -> Callable[..., Any]:
    """What ``getattr`` may do in a checkpoint: name a statistic of MMEngine's log history."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError('Unsupported GLOBAL builtins.getattr')


# NumPy called the module of these core before 2.0, and _core since.
_ARRAY_BUILDERS: dict[str, Any] = {
    '_reconstruct': np.zeros(1).__reduce__()[0],
    'scalar': np.float64(0).__reduce__()[0],
}

# What a runner's own checkpoint holds beyond tensors and plain Python: its log history, and NumPy
# numbers among its scores.
_MMENGINE_GLOBALS: list[Any] = [
    HistoryBuffer,
    (_history_statistic, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(code)) for code in '?bBhHiIlLqQefdU'),
    *(
        (build, f'numpy.{core}.multiarray.{name}')
        for name, build in _ARRAY_BUILDERS.items()
        for core in ('core', '_core')
    ),
]
_HARMLESS = ('torch.', 'collections.', '_codecs.', 'numpy.', 'mmengine.logging.')


def _refused(path: Path, calls: list[str]) -> CheckpointError:
    return CheckpointError(
        f'{path} was refused, and nothing of it was run: opening it would call '
        f'{", ".join(calls)}. Get the weights from a source you trust, as a state dict or as '
        'safetensors'
    )


def _pickle_stream(path: Path) -> bytes:
    """The pickle in a file, or as much of it as has its names."""
    with path.open('rb') as file:
        start = file.read(len(_ZIP))
        if start != _ZIP:
            return start + file.read(1 << 22)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith('/data.pkl'):
                    return archive.read(name)
    except zipfile.BadZipFile as error:
        raise truncated(path) from error
    raise CheckpointError(f'{path} is a zip archive, but not one that torch.save made')


def _calls(stream: bytes) -> list[str]:
    """What a row of pickles calls that no checkpoint has any use for; reads, and follows none."""
    names = set()
    strings = ['', '']
    file = io.BytesIO(stream)
    try:
        while True:
            for instruction, argument, _ in pickletools.genops(file):
                if instruction.name in ('GLOBAL', 'INST'):
                    names.add(str(argument).replace(' ', '.'))
                elif instruction.name == 'STACK_GLOBAL':
                    names.add('.'.join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
    except (ValueError, LookupError, struct.error):
        # The end of the pickles, or of what can be read as such.
        return sorted(name for name in names if not name.startswith(_HARMLESS))
