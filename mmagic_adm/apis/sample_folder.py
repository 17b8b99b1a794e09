"""A folder that samples are written to as they come, and finished from where it was left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from mmagic_adm.engine.run_folder import check_same, plain
from mmagic_adm.files.alone import LOCK
from mmagic_adm.files.npz import LABELS, write_batch
from mmagic_adm.files.pictures import (
    as_array,
    as_pictures,
    contact_sheet,
    read_picture,
    write_picture,
)
from mmagic_adm.files.whole import read_json, write_json

SETTINGS = 'settings.json'
SHEET_LIMIT = 256
WAY_OUT = 'choose another --out, or --overwrite'


class SavedSample(NamedTuple):
    """A sample read back from the folder."""

    picture: Image.Image
    seed: int
    label: int | None


class SampleFolder:
    """Samples as PNG files, each with its seed and label inside.

    Args:
        path: The folder; made if need be. Where another run may have it, claim it first.
        settings: What the samples follow from. A folder made with other settings is refused.
        overwrite: Whether to empty such a folder instead, of what a run wrote into it.
        way_out: What an error says to do, in the words of whoever asked.

    Raises:
        ValueError: The folder holds something else.
    """

    def __init__(
        self,
        path: str | Path,
        settings: Mapping[str, Any],
        overwrite: bool = False,
        way_out: str = WAY_OUT,
    ) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        written = self.path / SETTINGS
        if not written.exists() and any(each.name != LOCK for each in self.path.iterdir()):
            raise ValueError(
                f'{self.path} is not empty and not a folder of samples; choose another'
            )
        if overwrite:
            self._empty()
        if not written.exists():
            write_json(written, plain(settings), overwrite=False)
        check_same(self.path, read_json(written, way_out), settings, way_out)

    def missing(self, count: int) -> list[int]:
        """Which of the first ``count`` samples are not there yet, or cannot be read."""
        return [i for i in range(count) if self._read(i) is None]

    def save(self, index: int, picture: Image.Image, seed: int, label: int | None) -> None:
        """Writes one sample."""
        facts = PngImagePlugin.PngInfo()
        facts.add_text('seed', str(seed))
        if label is not None:
            facts.add_text('label', str(label))
        write_picture(self._file(index), picture, pnginfo=facts)

    def finish(self, count: int, class_names: Sequence[str] = ()) -> tuple[Path, Path]:
        """Writes the first ``count`` samples as one .npz, and as a contact sheet.

        The .npz is in the family's format: ``arr_0`` holds the images, (N, H, W, C) uint8, and
        ``arr_1`` the labels where there are any.

        Returns:
            Paths of the .npz and of the sheet.
        """
        saved = [sample for i in range(count) if (sample := self._read(i)) is not None]
        images = as_array([sample.picture for sample in saved])
        labels = [sample.label for sample in saved if sample.label is not None]
        samples, sheet = self.path / 'samples.npz', self.path / 'sheet.png'
        write_batch(samples, [images], len(saved), {LABELS: np.array(labels)} if labels else {})

        shown = saved[:SHEET_LIMIT]
        captions = [caption(sample.seed, sample.label, class_names) for sample in shown]
        page = contact_sheet([sample.picture for sample in shown], captions)
        write_picture(sheet, page)
        return samples, sheet

    def save_trajectory(
        self, index: int, strip: Image.Image, frames: Sequence[Image.Image]
    ) -> None:
        """Writes a sample's way from noise: a strip, and an animation."""
        name = self._file(index).with_suffix('')
        write_picture(Path(f'{name}_trajectory.png'), strip)
        write_picture(
            Path(f'{name}_trajectory.gif'),
            frames[0],
            format='GIF',
            save_all=True,
            append_images=list(frames[1:]),
            duration=[120] * (len(frames) - 1) + [1500],
            loop=0,
        )

    def _file(self, index: int) -> Path:
        return self.path / f'{index:06d}.png'

    def _read(self, index: int) -> SavedSample | None:
        try:
            picture = read_picture(self._file(index))
            seed, label = int(picture.info['seed']), picture.info.get('label')
            return SavedSample(picture, seed, None if label is None else int(label))
        except (ValueError, KeyError):  # of which an unreadable image is one
            return None

    def _empty(self) -> None:
        """Removes what a run writes, and nothing else."""
        for pattern in ('[0-9]*.png', '[0-9]*.gif', 'samples.npz', 'sheet.png', SETTINGS):
            for file in self.path.glob(pattern):
                file.unlink()


def trajectory_pictures(trajectory: dict, sample: int) -> tuple[Image.Image, list[Image.Image]]:
    """One sample's way: a strip of x_t above the predicted x_0, and the frames of an animation."""
    # x_t is mostly noise of unit variance; two thirds of it fall into the range of the picture.
    noisy = as_pictures(trajectory['x_t'][:, sample].clamp(-1, 1))
    predicted = as_pictures(trajectory['pred_x0'][:, sample].clamp(-1, 1))
    captions = [level.name for level in trajectory['levels']]
    strip = contact_sheet(noisy + predicted, captions * 2, columns=len(noisy))
    frames = [contact_sheet(pair, columns=2) for pair in zip(noisy, predicted, strict=True)]
    return strip, frames


def caption(seed: int, label: int | None, class_names: Sequence[str]) -> str:
    """What stands under a sample on a sheet: its class, or its seed where there are none."""
    if label is None:
        return str(seed)
    return class_names[label] if class_names else str(label)
