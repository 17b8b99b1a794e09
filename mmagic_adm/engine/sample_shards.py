"""The samples of a run on disk, in pieces: each is whole and sound, or is made again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmagic.structures import DataSample
from mmengine.logging import print_log

from mmagic_adm.engine.run_folder import check_same, plain
from mmagic_adm.evaluation.features import images_of
from mmagic_adm.files.alone import UNFINISHED
from mmagic_adm.files.npz import IMAGES, LABELS, read_arrays, write_batch
from mmagic_adm.files.whole import CheckpointError, read_json, reading, write_json

INDICES, SEEDS, CHECKSUM = 'index', 'seed', 'sha256'
RUN_FILE = 'run.json'


@dataclass(frozen=True)
class Shard:
    """Some samples.

    Attributes:
        images: (N, H, W, 3) uint8, RGB.
        indices: Number of each sample in the run, (N,).
        seeds: Seed of each, (N,).
        labels: Class of each, (N,), or None where there are no classes.
    """

    images: np.ndarray
    indices: np.ndarray
    seeds: np.ndarray
    labels: np.ndarray | None

    @classmethod
    def of(cls, data_samples: Sequence[DataSample]) -> Shard:
        """The samples that a model returned."""
        images = images_of([sample.to_dict() for sample in data_samples])
        labels = None
        if 'gt_label' in data_samples[0]:
            labels = np.array([int(sample.gt_label.label) for sample in data_samples])
        return cls(
            images=images.permute(0, 2, 3, 1).contiguous().cpu().numpy(),
            indices=np.array([sample.index for sample in data_samples]),
            seeds=np.array([sample.seed for sample in data_samples]),
            labels=labels,
        )

    def data_samples(self) -> list[DataSample]:
        """The samples as a model returns them."""
        samples = []
        for i, image in enumerate(torch.from_numpy(self.images).permute(0, 3, 1, 2)):
            numbers = dict(index=int(self.indices[i]), seed=int(self.seeds[i]))
            sample = DataSample(fake_img=image, metainfo=dict(numbers, channel_order='rgb'))
            if self.labels is not None:
                sample.set_gt_label(int(self.labels[i]))
            samples.append(sample)
        return samples

    def within(self, start: int, stop: int) -> Shard:
        """Those of the samples that are numbered from ``start`` up to before ``stop``."""
        kept = (self.indices >= start) & (self.indices < stop)
        labels = None if self.labels is None else self.labels[kept]
        return Shard(self.images[kept], self.indices[kept], self.seeds[kept], labels)

    def arrays(self) -> dict[str, np.ndarray]:
        """All but the images, by the names they have in a file."""
        arrays = {INDICES: self.indices, SEEDS: self.seeds}
        return arrays if self.labels is None else {**arrays, LABELS: self.labels}

    def checksum(self) -> str:
        """Tells whether a file is still what was written."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        for name, array in self.arrays().items():
            digest.update(f'{name} {array.tolist()}'.encode())
        return digest.hexdigest()


class SampleShards:
    """A folder of samples, one .npz for every batch that was made.

    Args:
        folder: The folder; it belongs to one run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(self, made_from: Mapping[str, Any], resume: bool) -> None:
        """Opens the folder for a run; one process calls it before any writes.

        Args:
            made_from: All that the samples follow from.
            resume: Whether to go on with what is there.

        Raises:
            ValueError: What is there is of another run, or would be overwritten.
        """
        run_file = self.folder / RUN_FILE
        count = len(self.files())
        if run_file.is_file():
            way_out = 'choose another --work-dir'
            check_same(self.folder, read_json(run_file, way_out), made_from, way_out)
            if count and not resume:
                raise ValueError(
                    f'{self.folder} holds {count} batches of samples of an earlier run; go on with '
                    'them by --resume, or choose another --work-dir'
                )
        elif count:
            raise ValueError(
                f'{self.folder} holds samples, but no {RUN_FILE} that says what they were made '
                'from; choose another --work-dir'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(run_file, plain(made_from), overwrite=True)

    def files(self) -> list[Path]:
        """The shards that are there, damaged ones too."""
        return sorted(self.folder.glob('[0-9]*.npz'))

    def write(self, shard: Shard) -> Path:
        """Writes a shard, under the number of its first sample."""
        file = self.folder / f'{int(shard.indices[0]):08d}.npz'
        arrays = {**shard.arrays(), CHECKSUM: np.array(shard.checksum())}
        write_batch(file, [shard.images], len(shard.images), arrays)
        return file

    def read(self, file: Path) -> Shard | None:
        """Reads a shard; one that is damaged is put aside, and its samples are missing."""
        try:
            with reading(file):
                arrays = read_arrays(file)
                parts = (arrays[IMAGES], arrays[INDICES], arrays[SEEDS], arrays.get(LABELS))
                shard = Shard(*parts)
                if arrays[CHECKSUM] == shard.checksum():
                    return shard
        except CheckpointError:
            pass
        aside = file.with_suffix('.damaged')
        file.replace(aside)
        print_log(f'{file} is damaged: moved to {aside.name}, and made again', 'current', 30)
        return None

    def assemble(self, folder: Path, start: int, count: int) -> Path:
        """Writes so many samples from ``start`` on, in their order, to one .npz in ``folder``.

        It is in the family's format, named after its shape, and replaces one of its name.
        """
        scratch = self.folder / f'.in-order{UNFINISHED}'
        images, labels = None, np.full(count, -1)
        is_missing = np.ones(count, dtype=bool)
        try:
            for shard in filter(None, map(self.read, self.files())):
                part = shard.within(start, start + count)
                places = part.indices - start
                if images is None:
                    # A shard holds every n-th sample. They are put in order on disk, whatever
                    # they take together.
                    shape = (count, *part.images.shape[1:])
                    images = np.lib.format.open_memmap(scratch, 'w+', np.uint8, shape)
                images[places] = part.images
                is_missing[places] = False
                if part.labels is not None:
                    labels[places] = part.labels
            if images is None or is_missing.any():
                raise ValueError(f'{is_missing.sum()} of {count} samples are missing')
            height, width = images.shape[1:3]
            path = folder / batch_name(start, count, f'{height}x{width}')
            pieces = (images[i : i + 64] for i in range(0, count, 64))
            write_batch(path, pieces, count, {LABELS: labels} if labels[0] >= 0 else {})
        finally:
            scratch.unlink(missing_ok=True)
        return path


def batch_name(start: int, count: int, size: str) -> str:
    """What a file of samples is called."""
    begin = f'_from{start}' if start else ''
    return f'samples_{count}x{size}x3{begin}.npz'
