"""Safetensors: the tensors of one network or more in OpenAI's names, and what the file says."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.parts import Networks, under_prefixes
from mmagic_adm.files.whole import truncated

# Under this name safetensors' own metadata, which is flat text, holds ours as JSON.
_METADATA_KEY = 'mmagic_adm'


class SafetensorsFile(Format):
    """A file of the safetensors library."""

    layout = 'safetensors'
    is_written = True

    def knows(self, path: Path, head: bytes) -> bool:
        """Eight bytes of length, then JSON, then the tensors."""
        return head[8:9] == b'{'

    def read(self, path: Path, map_location: Any = 'cpu', mmap: bool = True) -> Document:
        """Reads the tensors, and what :func:`write_checkpoint` was given to say about them."""
        device = str(map_location) if isinstance(map_location, str | torch.device) else 'cpu'
        try:
            with safe_open(path, framework='pt', device=device) as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                described = (file.metadata() or {}).get(_METADATA_KEY, '{}')
        except SafetensorError as error:
            raise truncated(path) from error
        try:
            meta = json.loads(described)
        except json.JSONDecodeError:
            meta = {}
        return Document(tensors, meta if isinstance(meta, dict) else {})

    def write(self, path: Path, networks: Networks, metadata: Mapping[str, Any]) -> None:
        """Writes networks under their prefixes."""
        described = {'format': 'pt', _METADATA_KEY: json.dumps(metadata)}
        save_file(under_prefixes(networks), path, described)
