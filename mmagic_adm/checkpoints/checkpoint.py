"""Reading and writing checkpoints, in whichever format."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor

from mmagic_adm.checkpoints.diffusers_folder import DiffusersFile, weights_in
from mmagic_adm.checkpoints.edm import EDMFile
from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.hub import local_path
from mmagic_adm.checkpoints.parts import StateDict, kind_of, sort_into_parts, under_prefixes
from mmagic_adm.checkpoints.safetensors_files import SafetensorsFile
from mmagic_adm.checkpoints.torch_files import MMagicFile, OpenAIFile, RunnerFile
from mmagic_adm.checkpoints.zoo import source_of
from mmagic_adm.files.whole import (
    CheckpointError,
    check_content,
    hash_in_name,
    reading,
    written_whole,
)

# The first that knows a file reads it.
FORMATS: list[Format] = [
    EDMFile(),
    DiffusersFile(),
    SafetensorsFile(),
    MMagicFile(),
    RunnerFile(),
    OpenAIFile(),
]


def register_format(format_: type[Format]) -> type[Format]:
    """Adds a format of one's own, which is asked before the others; a decorator for its class."""
    FORMATS.insert(0, format_())
    return format_


def writable_layouts() -> list[str]:
    """What :func:`write_checkpoint` can write."""
    return list(_writable_formats())


def _writable_formats() -> dict[str, Format]:
    return {each.layout: each for each in reversed(FORMATS) if each.is_written}


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a file.

    Args:
        state_dict: Tensors in OpenAI's names. Where ``parts`` has several, each name begins with
            its part's: 'unet.time_embed.0.weight'.
        layout: How the file is laid out.
        source: The path or URL it came from.
        parts: What the file calls its networks, of those that were read; ('',) in a file that is
            one network and nothing else.
        left_out: Names of the tensors that belong to no network, or to one not asked for.
        metadata: What the file says about itself.
    """

    state_dict: StateDict
    layout: str
    source: str
    parts: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def networks(self) -> dict[str, StateDict]:
        """The state dict of each network, by what the file calls it."""
        if len(self.parts) == 1:
            return {self.parts[0]: self.state_dict}
        return sort_into_parts(self.state_dict)[0]

    @property
    def file_name(self) -> str:
        """The file's name, or that of the one it was converted from."""
        name = self.metadata.get('source')
        return name if isinstance(name, str) else urlsplit(self.source).path.rpartition('/')[2]

    @property
    def configs(self) -> dict[str, dict[str, Any]]:
        """What the file says of the configs of its networks, and of other parts of a model."""
        config = self.metadata.get('config')
        parts = config.items() if isinstance(config, Mapping) else ()
        return {part: dict(value) for part, value in parts if isinstance(value, Mapping)}

    def description(self) -> dict[str, Any]:
        """What to tell :func:`write_checkpoint` of a file that this one is converted to."""
        return {'source': self.file_name} | ({'config': self.configs} if self.configs else {})


def read_checkpoint(
    source: str | Path, prefix: str | None = None, ema: bool = True, like: Collection[str] = ()
) -> Checkpoint:
    """Reads the networks in a file, whoever wrote it.

    Tensors are mapped from the file where it allows that, not copied: leave it in place while they
    are in use.

    Args:
        source: A path, a URL, a name of the zoo, a folder, or hf://user/name.
        prefix: What the file calls the network to read, such as 'unet' or 'classifier'; None
            reads all there are. A file that is one bare network has no names to choose by, and
            is read if it is of the kind asked for.
        ema: Whether to take the averaged weights, where the file holds them beside those that
            were trained.
        like: Names of a network's tensors, to read one like it; the family's are known without.

    Raises:
        CheckpointError: The file cannot be had or read, or does not hold what was asked for.
    """
    source = source_of(source)
    format_, document = _read(weights_file(source))
    tensors = _tensors_of(document, source, ema)
    networks, others = sort_into_parts(tensors, like)
    if not networks:
        raise CheckpointError(
            f'{source} holds no {"such" if like else "ADM"} network: none of its {len(tensors)} '
            f'tensors {"has a name of one" if like else "embeds a timestep"}; the first are called '
            f'{", ".join(list(tensors)[:3]) or "nothing"}'
        )
    chosen = networks if prefix is None else _choose(networks, prefix, source, like)
    not_chosen = {part: state for part, state in networks.items() if part not in chosen}
    return Checkpoint(
        state_dict=next(iter(chosen.values())) if len(chosen) == 1 else under_prefixes(chosen),
        layout=format_.layout,
        source=str(source),
        parts=tuple(chosen),
        left_out=(*under_prefixes(not_chosen), *others),
        metadata=document.meta,
    )


def weights_file(source: str | Path) -> Path:
    """The local file of weights that a path, URL, folder or Hub address stands for."""
    path = local_path(source)
    return weights_in(path) if path.is_dir() else path


def read_document(path: str | Path, mmap: bool = True) -> Document:
    """All that a file holds, networks or not, in its own names; see :meth:`Format.read`."""
    return _read(Path(path), mmap)[1]


def _read(path: Path, mmap: bool = True) -> tuple[Format, Document]:
    head = check_content(path)
    with reading(path):
        for each in FORMATS:
            if each.knows(path, head):
                return each, each.read(path, mmap)
    raise CheckpointError(
        f'{path} is not a checkpoint: it begins with {head[:8]!r}, which none of '
        f'{", ".join(each.layout for each in FORMATS)} does'
    )


def _tensors_of(document: Document, source: str | Path, ema: bool) -> StateDict:
    state = dict(document.state_dict)
    if not ema:
        # MMEngine's EMAHook stores the averaged weights as the model's, and the trained ones as
        # the average's, so that who reads only the state dict has the better weights.
        trained = document.others.get('ema_state_dict')
        trained = trained if isinstance(trained, Mapping) else {}
        state = {key: trained.get(f'module.{key}', averaged) for key, averaged in state.items()}
    strangers = [
        f'{key} ({type(value).__name__})'
        for key, value in state.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if strangers:
        raise CheckpointError(
            f'{source} holds no state dict: {len(strangers)} of its {len(state)} entries are not '
            f'named tensors, such as {", ".join(strangers[:3])}'
        )
    return state


def _choose(
    networks: Mapping[str, StateDict], prefix: str, source: str | Path, like: Collection[str]
) -> dict[str, StateDict]:
    part = prefix.rstrip('.')
    if part in networks:
        return {part: networks[part]}
    if list(networks) != ['']:
        held = ', '.join(map(repr, networks))
        raise CheckpointError(f'{source} has no network called {prefix!r}; it holds {held}')
    kind = kind_of(networks[''])
    fits = part == kind or (like and kind_of(like) == kind)
    if part in ('unet', 'classifier') and not fits:
        raise CheckpointError(f'{source} is a {kind}, and prefix={prefix!r} asks for a {part}')
    return dict(networks)


def write_checkpoint(
    state_dict: Mapping[str, Tensor],
    path: str | Path,
    layout: str = 'openai',
    overwrite: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Writes networks to a file; the tensors keep every bit, and so their type.

    Args:
        state_dict: One network's tensors, or several's under prefixes ('unet.', 'classifier.'),
            ADM's in OpenAI's names or MMagic's.
        path: The file. It appears once it is complete, and not at all if that fails.
        layout: 'openai' for a plain state dict of one network, 'mmagic' for MMagic's prefixes
            and names in a runner's checkpoint, 'safetensors' for OpenAI's names in that format;
            or that of a format of your own.
        overwrite: Whether to replace a file of that name.
        metadata: What the file shall say about itself, in values that JSON can hold. The layout
            'openai' has no place for it.

    Returns:
        The path.

    Raises:
        CheckpointError: The tensors do not suit the layout, or the file cannot be written.
    """
    path = Path(path)
    formats = _writable_formats()
    if layout not in formats:
        raise ValueError(f'layout is one of {", ".join(formats)}, not {layout!r}')
    _check_name(path, layout)
    views = _networks_in(state_dict, path, layout)
    size = sum(tensor.nbytes for state in views.values() for tensor in state.values())
    with written_whole(path, size, overwrite) as temporary:
        networks = {
            part: {key: _standalone(tensor) for key, tensor in state.items()}
            for part, state in views.items()
        }
        # Through JSON, so that every format is told the same.
        try:
            described = json.loads(json.dumps(dict(metadata or {})))
        except TypeError as error:
            raise TypeError(f'its metadata: {error}') from error
        formats[layout].write(temporary, networks, described)
    return path


def _check_name(path: Path, layout: str) -> None:
    claimed = hash_in_name(path.name)
    if path.suffix == '.safetensors' and layout != 'safetensors':
        wrong = f'says safetensors, and the layout is {layout}; end it in .pt or .pth'
    elif claimed:
        wrong = f'claims a SHA-256 that the new file would not have; leave out -{claimed}'
    else:
        return
    raise CheckpointError(f'cannot write {path}: its name {wrong}')


def _networks_in(state_dict: Mapping[str, Tensor], path: Path, layout: str) -> dict[str, StateDict]:
    """The networks in a state dict; what has none of ADM's is one of another family."""
    networks, others = sort_into_parts(state_dict)
    if state_dict and not networks and layout != 'mmagic':
        return {'': dict(state_dict)}
    if not networks or others:
        strangers = ', '.join(list(others)[:3]) or 'nothing at all'
        raise CheckpointError(
            f'cannot write {path}: these tensors belong to no ADM network: {strangers}'
            f'{", …" if len(others) > 3 else ""} ({len(others)} of {len(state_dict)})'
        )
    return networks


def _standalone(tensor: Tensor) -> Tensor:
    """The tensor with a storage of its own: views drag their whole storage into a file."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
