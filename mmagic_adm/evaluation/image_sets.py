"""Sets of images on disk, batches in .npz and folders, read piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.files.npz import ImagesFile
from mmagic_adm.files.pictures import EXTENSIONS, opened, read_picture


class ImageBatch:
    """The RGB images of an .npz file; what they take in memory is one batch.

    Args:
        path: The file.

    Attributes:
        count: How many images there are.
        size: Their height and width.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = ImagesFile(path)
        self.count, height, width, channels = self._file.shape
        if channels == 1:
            raise ValueError(
                f'{path} has grey images, {self._file.shape}; the metrics take RGB, (N, H, W, 3)'
            )
        self.size = (height, width)

    def batches(self, batch_size: int, first: int = 0, step: int = 1) -> Iterator[Tensor]:
        """The images in their order, batch by batch, (N, 3, H, W) uint8.

        Args:
            batch_size: Images in a batch; there may be fewer in the last.
            first: Number of the batch to begin with.
            step: How many batches to go on by: 1 gives all, the number of processes a share.
        """
        for piece in self._file.pieces(batch_size, first, step):
            yield torch.from_numpy(piece).permute(0, 3, 1, 2)


class ImageFolder:
    """The image files in a folder and below, of one size, in the order of their names.

    Args:
        path: The folder.
        files: Those of its files to take; None takes all.
    """

    def __init__(self, path: str | Path, files: Sequence[Path] | None = None) -> None:
        self.path = Path(path)
        if files is None:
            found = self.path.rglob('*')
            files = sorted(file for file in found if file.suffix.lower() in EXTENSIONS)
        self.files = files
        if not self.files:
            raise ValueError(f'{self.path} has no images: no file ends in {", ".join(EXTENSIONS)}')
        self.count = len(self.files)
        self.size = _header(self.files[0])
        for file in self.files:
            if (size := _header(file)) != self.size:
                raise ValueError(
                    f'{file} is {_by(size)} and {self.files[0]} is {_by(self.size)}; the images '
                    'of a set have one size'
                )

    def batches(self, batch_size: int, first: int = 0, step: int = 1) -> Iterator[Tensor]:
        """The images in their order, as :meth:`ImageBatch.batches` gives them."""
        for start in range(first * batch_size, self.count, step * batch_size):
            files = self.files[start : start + batch_size]
            images = [np.array(read_picture(file)) for file in files]
            yield torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    def thinned(self, count: int) -> ImageFolder:
        """At most so many of the images, evenly spaced."""
        count = min(count, self.count)
        return ImageFolder(self.path, [self.files[i * self.count // count] for i in range(count)])

    def fingerprint(self) -> str:
        """Tells these files from any others, by their names, sizes and times of change."""
        digest = hashlib.sha256()
        for file in self.files:
            status = file.stat()
            name = file.relative_to(self.path).as_posix()
            digest.update(f'{name} {status.st_size} {status.st_mtime_ns}\n'.encode())
        return digest.hexdigest()


ImageSet = ImageBatch | ImageFolder


def open_images(path: str | Path) -> ImageSet:
    """Opens a batch or a folder, and checks that its images are what the metrics can take.

    Args:
        path: An .npz with the images in arr_0, (N, H, W, 3) uint8; or a folder of image files.

    Raises:
        ValueError: The images are of another kind, or none are there.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return ImageFolder(path)
    if not path.is_file():
        raise ValueError(f'{path} does not exist; give an .npz batch or a folder of images')
    return ImageBatch(path)


def check_same_size(size: tuple[int, int], other: tuple[int, int], what: str, than: str) -> None:
    """Refuses to compare images of different sizes."""
    if size != other:
        raise ValueError(
            f'{what} are {_by(size)}, but {than} is of {_by(other)} images; figures compare '
            'images of one size: take the reference batch of that size'
        )


def _header(file: Path) -> tuple[int, int]:
    """An image file's height and width, if it is one that the metrics take."""
    with opened(file) as image:
        mode, width, height = image.mode, image.width, image.height
    if mode != 'RGB':
        kind = 'grey' if mode in ('1', 'L', 'LA', 'I;16', 'I', 'F') else f'of mode {mode}'
        raise ValueError(f'{file} is {kind}; the metrics take 8-bit RGB: convert the images')
    return height, width


def _by(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
