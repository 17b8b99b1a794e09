"""Safetensors: the tensors of one network or more in OpenAI's names, and what the file says."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.parts import Networks, digest, under_prefixes
from mmagic_adm.files.whole import RefusedError

# Under these names safetensors' own metadata, which is flat text, holds ours as JSON, and the
# digest of all tensors.
_METADATA, _DIGEST = 'mmagic_adm', 'mmagic_adm.sha256'

# In bytes. Ten thousand tensors take one million.
_LARGEST_HEADER = 1 << 25


class SafetensorsFile(Format):
    """A file of the safetensors library."""

    layout = 'safetensors'
    is_written = True

    def knows(self, path: Path, head: bytes) -> bool:
        """Eight bytes of length, then JSON, then the tensors."""
        return head[8:9] == b'{'

    def read(self, path: Path, mmap: bool = True) -> Document:
        """Reads the tensors, and what :func:`write_checkpoint` was given to say about them.

        Tensors are mapped from the file whatever is asked for.
        """
        with path.open('rb') as file:
            if int.from_bytes(file.read(8), 'little') > _LARGEST_HEADER:
                raise RefusedError('it describes more tensors than any network has')
        with safe_open(path, framework='pt') as file:
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
            metadata = file.metadata() or {}
        if metadata.get(_DIGEST, '') not in ('', digest(tensors)):
            raise ValueError('its tensors are not those that were written')
        try:
            meta = json.loads(metadata.get(_METADATA, '{}'))
        except (json.JSONDecodeError, RecursionError):
            meta = {}  # another program's
        return Document(tensors, meta if isinstance(meta, dict) else {})

    def write(self, path: Path, networks: Networks, metadata: Mapping[str, Any]) -> None:
        """Writes networks under their prefixes, and a checksum, which the format has none of."""
        tensors = dict(sorted(under_prefixes(networks).items()))
        described = {'format': 'pt', _METADATA: json.dumps(metadata), _DIGEST: digest(tensors)}
        # Its own save_file writes to a hidden file of another name, which a kill would leave there.
        path.write_bytes(save(tensors, described))
