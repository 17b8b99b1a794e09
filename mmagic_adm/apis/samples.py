"""What sampling gives: images, to look at, to keep and to go on with."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmagic_adm.apis.sample_folder import (
    SHEET_LIMIT,
    SampleFolder,
    caption,
    trajectory_pictures,
)
from mmagic_adm.files.alone import claimed
from mmagic_adm.files.pictures import as_array, as_pictures, contact_sheet

WAY_OUT = 'choose another folder, or overwrite=True'


class Samples(Mapping[str, Any]):
    """Images that were sampled. A notebook shows them as a contact sheet.

    They are also the mapping that ``infer`` gives, with all that it has: ``['samples']``,
    ``['labels']``, ``['seeds']``, and what a function adds.

    Args:
        made: That mapping.
        class_names: What the classes are called, for captions.
    """

    def __init__(self, made: Mapping[str, Any], class_names: Sequence[str] = ()) -> None:
        self._made = dict(made)
        self.class_names = class_names

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """The samples of several batches as those of one, on the CPU."""
        first = parts[0]
        made: dict[str, Any] = {
            name: torch.cat([part[name].cpu() for part in parts])
            for name in first
            if isinstance(first[name], Tensor)
        }
        made.setdefault('labels', None)
        made['seeds'] = [seed for part in parts for seed in part.seeds]
        if first.trajectory is not None:
            ways = [part['trajectory'] for part in parts]
            shown = {
                name: torch.cat([way[name] for way in ways], dim=1) for name in ('x_t', 'pred_x0')
            }
            made['trajectory'] = {**ways[0], **shown}
        return cls(made, first.class_names)

    @property
    def tensor(self) -> Tensor:
        """The images, (N, C, H, W) in [-1, 1]."""
        return self._made['samples']

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images, (N, H, W, C) uint8."""
        return as_array(self.images)

    @property
    def images(self) -> list[Image.Image]:
        """The images as pictures, grey or RGB."""
        return as_pictures(self.tensor)

    @property
    def labels(self) -> Tensor | None:
        """The class of each, (N,), where there are any."""
        return self._made['labels']

    @property
    def seeds(self) -> list[int]:
        """The seed of each."""
        return self._made['seeds']

    @property
    def trajectory(self) -> dict[str, Any] | None:
        """If it was kept, their way: ``levels``, and ``x_t`` and ``pred_x0``, (S, N, ...)."""
        return self._made.get('trajectory')

    def sheet(self, columns: int | None = None) -> Image.Image:
        """The first few hundred on one picture, each above its class, or else its seed.

        Args:
            columns: Images in a row; None makes the sheet about square.
        """
        captions = map(self._caption, range(SHEET_LIMIT), self.seeds)
        return contact_sheet(self.images[:SHEET_LIMIT], list(captions), columns)

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Writes them into a folder, as ``mmagic-adm sample`` does: PNGs, a sheet, and an .npz.

        Args:
            folder: The folder; made if need be.
            overwrite: Whether to put them in the place of other samples that it holds.

        Returns:
            Path of the .npz.

        Raises:
            ValueError: The folder holds other samples, or something else.
        """
        labels = None if self.labels is None else self.labels.tolist()
        known = dict(
            seeds=self.seeds, labels=labels, pixels=hashlib.sha256(self.pixels.data).hexdigest()
        )
        count = len(self.seeds)
        with claimed(Path(folder)):
            written = SampleFolder(folder, known, overwrite, WAY_OUT)
            self.save_into(written, range(count))
            return written.finish(count, self.class_names)[0]

    def save_into(self, folder: SampleFolder, indices: Sequence[int]) -> None:
        """Writes each as the sample of an index, and their trajectories if they were kept."""
        for row, (index, picture) in enumerate(zip(indices, self.images, strict=True)):
            if self.trajectory is not None:
                folder.save_trajectory(index, *trajectory_pictures(self.trajectory, row))
            folder.save(index, picture, self.seeds[row], self._label(row))

    def __getitem__(self, name: str) -> Any:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __repr__(self) -> str:
        count, _, height, width = self.tensor.shape
        images = f'{count} image{"s" * (count != 1)} of {height}x{width}'
        return f'<Samples: {images}, with {", ".join(self)}>'

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        file = io.BytesIO()
        self.sheet().save(file, 'PNG')
        return file.getvalue()

    def _label(self, row: int) -> int | None:
        return None if self.labels is None else int(self.labels[row])

    def _caption(self, row: int, seed: int) -> str:
        return caption(seed, self._label(row), self.class_names)
