"""Files of ``torch.save``: OpenAI's state dicts, and checkpoints of MMEngine and MMagic."""

import ast
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.parts import (
    MMAGIC_MARK,
    Networks,
    kind_of,
    mmagic_name,
    under_prefixes,
)
from mmagic_adm.checkpoints.unpickling import pickle_in, unpickle
from mmagic_adm.files.whole import ZIP, CheckpointError

# Of ADM's networks, whose blocks are numbered.
_ATTENTION = re.compile(r'(?:.*_blocks|.*middle_block)\.[\d.]+\.(?:qkv|proj_out)\.weight')


class OpenAIFile(Format):
    """One network's state dict, and nothing else."""

    layout = 'openai'
    is_written = True
    # Names that are in such a file.
    marks: tuple[str, ...] = ()

    def knows(self, path: Path, head: bytes) -> bool:
        """Looks for the names in the file's pickle, of which nothing is run."""
        if not head.startswith((ZIP, pickle.PROTO)):
            return False
        stream = pickle_in(path) if self.marks else b''
        return all(mark.encode() in stream for mark in self.marks)

    def read(self, path: Path, mmap: bool = True) -> Document:
        """Reads a state dict, or a runner's checkpoint that has one."""
        content = unpickle(path, mmap)
        if not isinstance(content, dict):
            raise CheckpointError(f'{path} holds a {type(content).__name__}, not a state dict')
        if 'state_dict' not in content:
            return Document({name: _of_a_row(name, value) for name, value in content.items()})
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


def _of_a_row(name: Any, value: Any) -> Any:
    """A tensor as it is, but for attention's: of pixels in a row, not on a plane.

    Which of both the files of consistency models have is all that sets them apart from ADM's.
    """
    if isinstance(value, Tensor) and value.ndim == 4 and _ATTENTION.fullmatch(str(name)):
        return value.flatten(2)
    return value


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
