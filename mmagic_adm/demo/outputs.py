"""Where a run's files are: a PNG for each sample, an .npz and a .zip of all; and for how long."""

from __future__ import annotations

import dataclasses
import itertools
import math
import secrets
import shutil
import time
import zipfile
from pathlib import Path

from mmagic_adm.apis.sample_folder import SETTINGS, SampleFolder
from mmagic_adm.demo.making import Made

# What a run's folder is called: when it was written, and a random number.
_RUN = '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]_*_*'
_DAY = 24 * 60 * 60
_GIGABYTE = 10**9

NPZ, ZIP = 'samples.npz', 'images.zip'


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

    def write(self, made: Made) -> Path:
        """Writes samples to a folder of their own, which it gives."""
        self.prune()
        name = f'{time.strftime("%Y-%m-%d_%H-%M-%S")}_{secrets.token_hex(4)}'
        order, samples = made.order, made.samples
        hole = order.hole and dict(method=order.hole.method, arguments=order.hole.arguments)
        folder = SampleFolder(self.folder / name, {**vars(order), 'hole': hole})
        count = len(samples.seeds)
        samples.save_into(folder, range(count))
        folder.finish(count, samples.class_names)
        if order.hole is not None:
            order.hole.save(folder.path)
        with zipfile.ZipFile(folder.path / ZIP, 'w') as archive:
            for file in sorted(folder.path.glob('[0-9]*')):
                archive.write(file, file.name)
        return folder.path

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
