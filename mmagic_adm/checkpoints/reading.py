"""Reading a checkpoint of any known layout."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmagic_adm.checkpoints.download import fetch
from mmagic_adm.checkpoints.edm import read_edm
from mmagic_adm.checkpoints.edm_pickle import is_edm_pickle
from mmagic_adm.checkpoints.errors import CheckpointError
from mmagic_adm.checkpoints.files import METADATA_KEY, recognise_container, truncated
from mmagic_adm.checkpoints.parts import StateDict, kind_of, sort_into_parts
from mmagic_adm.checkpoints.recorded import recorded_config
from mmagic_adm.checkpoints.unpickling import unpickle

Layout = Literal['openai', 'mmagic', 'mmengine', 'safetensors', 'edm']


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
    layout: Layout
    source: str
    parts: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def networks(self) -> dict[str, StateDict]:
        """The state dict of each network, by what the file calls it."""
        if len(self.parts) == 1:
            return {self.parts[0]: self.state_dict}
        return sort_into_parts(self.state_dict).networks

    @property
    def file_name(self) -> str:
        """The file's name, or that of the one it was converted from."""
        name = self.metadata.get('source')
        return name if isinstance(name, str) else urlsplit(self.source).path.rpartition('/')[2]

    def description(self) -> dict[str, Any]:
        """What to tell :func:`write_checkpoint` of a file that this one is converted to."""
        config = recorded_config(self.metadata)
        return {'source': self.file_name} | ({'config': config} if config else {})


def read_checkpoint(source: str | Path, prefix: str | None = None, ema: bool = True) -> Checkpoint:
    """Reads the networks in a file, whoever wrote it.

    Knows OpenAI's state dicts, MMagic's files, those that a runner saves here, safetensors, and
    EDM's pickles. Tensors are mapped from the file where it allows that, not copied: leave it in
    place while they are in use.

    Args:
        source: A path or a URL.
        prefix: What the file calls the network to read, such as 'unet' or 'classifier'; None
            reads all there are. A file that is one bare network has no names to choose by, and
            is read if it is of the kind asked for.
        ema: Whether to take the averaged weights, where the file holds them beside those that
            were trained.

    Raises:
        CheckpointError: The file cannot be had or read, or does not hold what was asked for.
    """
    document, layout = read_document(fetch(source))
    tensors = _state_dict(document, ema)
    _check_tensors(tensors, source)
    found = sort_into_parts(tensors)
    if not found.networks:
        raise CheckpointError(
            f'{source} holds no ADM network: none of its {len(tensors)} tensors embeds a '
            f'timestep; the first are called {", ".join(list(tensors)[:3]) or "nothing"}'
        )
    chosen = found.networks if prefix is None else _choose(found.networks, prefix, source)
    others = {part: state for part, state in found.networks.items() if part not in chosen}
    return Checkpoint(
        state_dict=_joined(chosen),
        layout='mmagic' if found.mmagic_names and layout != 'safetensors' else layout,
        source=str(source),
        parts=tuple(chosen),
        left_out=(*(f'{part}.{key}' for part in others for key in others[part]), *found.others),
        metadata=document['meta'],
    )


def read_document(
    path: str | Path, map_location: Any = 'cpu', mmap: bool = True
) -> tuple[dict[str, Any], Layout]:
    """All that a file holds, in the form of a runner's checkpoint, and how it was laid out.

    Args:
        path: The file.
        map_location: As in :func:`torch.load`.
        mmap: Whether to map tensors from the file where it allows that.

    Returns:
        A dict with at least 'state_dict', in the file's own names, and 'meta'; and the layout.
    """
    path = Path(path)
    container = recognise_container(path)
    if container == 'safetensors':
        tensors, metadata = _read_safetensors(path, map_location)
        return {'state_dict': tensors, 'meta': metadata}, 'safetensors'
    if container == 'pickle' and is_edm_pickle(path):
        return read_edm(path, map_location), 'edm'
    content = unpickle(path, container, map_location, mmap)
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, not a state dict')
    if 'state_dict' not in content:
        return {'state_dict': content, 'meta': {}}, 'openai'
    if not isinstance(content['state_dict'], dict):
        raise CheckpointError(
            f"{path}: its 'state_dict' is a {type(content['state_dict']).__name__}, not a dict"
        )
    meta = content.get('meta')
    return {**content, 'meta': meta if isinstance(meta, dict) else {}}, 'mmengine'


def _read_safetensors(path: Path, map_location: Any) -> tuple[StateDict, dict[str, Any]]:
    device = str(map_location) if isinstance(map_location, str | torch.device) else 'cpu'
    try:
        with safe_open(path, framework='pt', device=device) as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, _own_metadata(file.metadata() or {})
    except SafetensorError as error:
        raise truncated(path) from error


def _own_metadata(metadata: dict[str, str]) -> dict[str, Any]:
    """What :func:`write_checkpoint` was given to say about the file, if it wrote it."""
    try:
        described = json.loads(metadata.get(METADATA_KEY, '{}'))
    except json.JSONDecodeError:
        return {}
    return described if isinstance(described, dict) else {}


def _state_dict(document: Mapping[str, Any], ema: bool) -> dict[str, Any]:
    state = document['state_dict']
    if ema or 'ema_state_dict' not in document:
        return dict(state)
    # MMEngine's EMAHook stores the averaged weights as the model's, and the trained ones as the
    # average's, so that who reads only the state dict has the better weights.
    trained = document['ema_state_dict']
    return {key: trained.get(f'module.{key}', averaged) for key, averaged in state.items()}


def _check_tensors(state: Mapping[str, Any], source: str | Path) -> None:
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


def _choose(
    networks: Mapping[str, StateDict], prefix: str, source: str | Path
) -> dict[str, StateDict]:
    part = prefix.rstrip('.')
    if part in networks:
        return {part: networks[part]}
    if list(networks) == ['']:
        kind = kind_of(networks[''])
        if part in ('unet', 'classifier') and part != kind:
            raise CheckpointError(f'{source} is a {kind}, and prefix={prefix!r} asks for a {part}')
        return dict(networks)
    held = ', '.join(repr(name) for name in networks)
    raise CheckpointError(f'{source} has no network called {prefix!r}; it holds {held}')


def _joined(networks: Mapping[str, StateDict]) -> StateDict:
    if len(networks) == 1:
        return next(iter(networks.values()))
    return {f'{part}.{key}': tensor for part in networks for key, tensor in networks[part].items()}
