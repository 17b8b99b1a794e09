"""What a format of checkpoints is: how to know its files, to read them, and to write them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmagic_adm.checkpoints.parts import Networks


@dataclass(frozen=True)
class Document:
    """All that a file holds.

    Args:
        state_dict: Tensors, by the file's own names.
        meta: What the file says about itself.
        others: What else there is in a runner's checkpoint, such as the optimiser's state.
    """

    state_dict: dict[str, Any]
    meta: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)


class Format(ABC):
    """A way to lay networks out in a file.

    Attributes:
        layout: What it is called.
        is_written: Whether :func:`write_checkpoint` can write it.
    """

    layout: str
    is_written: bool = False

    @abstractmethod
    def knows(self, path: Path, head: bytes) -> bool:
        """Whether a file is of this format.

        Args:
            path: The file.
            head: The first bytes of it, up to 512.
        """

    @abstractmethod
    def read(self, path: Path, mmap: bool = True) -> Document:
        """What a file holds, on the CPU; nothing that is in it may be run.

        What this raises over a damaged file becomes one error that names the file.

        Args:
            path: The file.
            mmap: Whether to map tensors from the file where it allows that. The file must then
                stay as it is while they are in use.
        """

    def write(self, path: Path, networks: Networks, metadata: Mapping[str, Any]) -> None:
        """Writes networks, if ``is_written`` says so.

        Args:
            path: The file, whose name is not yet its final one.
            networks: Tensors of each, in OpenAI's names; one without a name is alone.
            metadata: What the file shall say about itself, in values that JSON can hold.

        Raises:
            ValueError: The format has no place for something.
        """
        raise NotImplementedError
