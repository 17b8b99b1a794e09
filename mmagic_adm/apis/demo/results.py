"""A run's files: a PNG for each sample, all in one .npz and in one .zip."""

from __future__ import annotations

import dataclasses
import secrets
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmagic_adm.apis.demo.making import Made, Sampled
from mmagic_adm.apis.demo.order import Order
from mmagic_adm.apis.sample_folder import SampleFolder, trajectory_pictures
from mmagic_adm.files.whole import written_whole


class Files(NamedTuple):
    """Where a run's samples are.

    Attributes:
        folder: All of them.
        npz: The samples in the family's format, ``arr_0`` and ``arr_1``.
        zip: The pictures.
    """

    folder: Path
    npz: Path
    zip: Path


def write_results(
    outputs: Path, order: Order, made: Made, samples: Sequence[Sampled], **more: Any
) -> Files:
    """Writes samples to a folder of their own.

    Args:
        outputs: The folder that it goes into.
        order: What was asked for.
        made: What came of it, with the trajectory if there is one.
        samples: The samples to write.
        **more: What they follow from besides the order.
    """
    name = f'{time.strftime("%Y-%m-%d_%H-%M-%S")}_{secrets.token_hex(4)}'
    settings = {**dataclasses.asdict(order), **more}
    folder = SampleFolder(outputs / name, settings)
    for i, each in enumerate(samples):
        folder.save(i, each.picture, each.seed, each.label)
    if made.trajectory is not None:
        folder.save_trajectory(0, *trajectory_pictures(made.trajectory, 0))
    npz, _ = folder.finish(len(samples), order.facts.class_names)
    return Files(folder.path, npz, _zipped(folder.path))


def _zipped(folder: Path) -> Path:
    pictures = sorted([*folder.glob('[0-9]*.png'), *folder.glob('[0-9]*.gif')])
    path = folder / 'images.zip'
    size = sum(picture.stat().st_size for picture in pictures)
    with (
        written_whole(path, size, overwrite=True) as temporary,
        zipfile.ZipFile(temporary, 'w') as archive,
    ):
        for picture in pictures:
            archive.write(picture, picture.name)
    return path
