"""A run's files: a PNG for each sample, all in one .npz and in one .zip; and how long they stay."""

from __future__ import annotations

import dataclasses
import itertools
import math
import secrets
import shutil
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

from mmagic_adm.apis.sample_folder import SETTINGS, SampleFolder
from mmagic_adm.demo.making import Made

# What a run's folder is called: when it was written, and a random number.
_RUN = '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]_*_*'
_DAY = 24 * 60 * 60
_GIGABYTE = 10**9


@dataclasses.dataclass(frozen=True)
class Outputs:
    """The folder that each run gets a folder in, with less in it than would fill a disk.

    Args:
        folder: Where it is; made if need be.
        keep_days: Days after which a run's folder is removed.
        keep_gigabytes: As much as all of them may take; the oldest make room.
    """

    folder: Path
    keep_days: float = math.inf
    keep_gigabytes: float = math.inf

    def __post_init__(self) -> None:
        for name in ('keep_days', 'keep_gigabytes'):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f'{name} is how much of the outputs to keep, above 0; not {value}')

    @property
    def cache(self) -> Path:
        """Where the copies are that the page shows."""
        return self.folder / 'cache'

    def new_run(self) -> Path:
        """A folder for another run, which does not exist yet."""
        self.prune()
        return self.folder / f'{time.strftime("%Y-%m-%d_%H-%M-%S")}_{secrets.token_hex(4)}'

    def prune(self) -> None:
        """Removes runs that are too old, and the oldest of too many; touches nothing else."""
        runs = [run for run in self.folder.glob(_RUN) if (run / SETTINGS).is_file()]
        newest_first = sorted([*runs, *self.cache.glob('*')], key=_age)
        sizes = itertools.accumulate(map(_size, newest_first))
        for path, size in zip(newest_first, sizes, strict=True):
            if _age(path) > self.keep_days * _DAY or size > self.keep_gigabytes * _GIGABYTE:
                shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    """Seconds since something in a folder was added or removed; 0 if another just removed it."""
    return time.time() - path.stat().st_mtime if path.exists() else 0.0


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob('*') if file.is_file())


class Files(NamedTuple):
    """Where a run's samples are.

    Attributes:
        folder: All of them.
        pictures: Each by itself.
        npz: All in the family's format, ``arr_0`` and ``arr_1``.
        zip: The pictures.
    """

    folder: Path
    pictures: list[Path]
    npz: Path
    zip: Path


def write_results(outputs: Outputs, made: Made) -> Files:
    """Writes samples to a folder of their own."""
    order = made.order
    settings = {**vars(order), 'hole': order.hole and order.hole.settings}
    folder = SampleFolder(outputs.new_run(), settings)
    for i, samples in enumerate(made.rounds):
        samples.save_into(folder, range(i * order.count, (i + 1) * order.count))
    npz, _ = folder.finish(made.count, order.facts.class_names)
    pictures = [folder.path / f'{i:06d}.png' for i in range(made.count)]
    path = folder.path / 'images.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        for picture in sorted([*pictures, *folder.path.glob('*_trajectory.*')]):
            archive.write(picture, picture.name)
    return Files(folder.path, pictures, npz, path)
