"""Sets of images on disk, batches in .npz and folders, read and written piece by piece."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mmagic_adm.checkpoints.files import written_whole
from mmagic_adm.datasets.image_folder import EXTENSIONS

IMAGES, LABELS = 'arr_0', 'arr_1'


class ImageSet(ABC):
    """A number of RGB images of one size.

    Attributes:
        path: Where they are.
        count: How many there are.
        size: Their height and width.
    """

    path: Path
    count: int
    size: tuple[int, int]

    @abstractmethod
    def batches(self, batch_size: int, first: int = 0, step: int = 1) -> Iterator[Tensor]:
        """The images in their order, batch by batch, (N, 3, H, W) uint8.

        Args:
            batch_size: Images in a batch; there may be fewer in the last.
            first: Number of the batch to begin with.
            step: How many batches to go on by: 1 gives all, the number of processes a share.
        """


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


class ImageBatch(ImageSet):
    """The images of an .npz file; what they take in memory is one batch.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as file:
            shape, dtype = _read_header(file, self.path)
        if dtype != np.uint8:
            raise ValueError(
                f'{self.path}: {IMAGES} is {dtype}, but images in a batch are uint8 from 0 to 255; '
                'quantise images x in [-1, 1] by ((x + 1) * 127.5).clip(0, 255).astype(numpy.uint8)'
            )
        _check_shape(shape, self.path)
        self.count, height, width, _ = shape
        self.size = (height, width)

    def batches(self, batch_size: int, first: int = 0, step: int = 1) -> Iterator[Tensor]:
        """The images in their order, batch by batch."""
        height, width = self.size
        image_bytes = height * width * 3
        with self._open() as file:
            _read_header(file, self.path)
            begin = file.tell()
            for start in range(first * batch_size, self.count, step * batch_size):
                count = min(batch_size, self.count - start)
                file.seek(begin + start * image_bytes)
                data = _read_all(file, count * image_bytes, self.path)
                images = torch.frombuffer(data, dtype=torch.uint8)
                yield images.view(count, height, width, 3).permute(0, 3, 1, 2)

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        name = f'{IMAGES}.npy'
        try:
            with zipfile.ZipFile(self.path) as archive:
                if name not in archive.namelist():
                    held = ', '.join(each.removesuffix('.npy') for each in archive.namelist())
                    raise ValueError(
                        f'{self.path} has no images, which would be called {IMAGES}, but {held}'
                    )
                with archive.open(name) as file:
                    yield file
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(
                f'{self.path} is not an .npz file, or a damaged one ({error}); make or download '
                'it again'
            ) from error


class ImageFolder(ImageSet):
    """The image files in a folder and below, in the order of their names.

    Args:
        path: The folder.
        files: Those of its files to take; None takes all.
    """

    def __init__(self, path: str | Path, files: Sequence[Path] | None = None) -> None:
        self.path = Path(path)
        self.files = sorted(_image_files(self.path)) if files is None else files
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
        """The images in their order, batch by batch."""
        for start in range(first * batch_size, self.count, step * batch_size):
            images = [np.array(Image.open(f)) for f in self.files[start : start + batch_size]]
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


def write_batch(
    path: str | Path,
    images: Iterable[np.ndarray],
    count: int,
    arrays: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes an .npz in the family's format; it has its name only once it is complete.

    Args:
        path: Where it goes; a file of that name is replaced.
        images: Pieces of it, each (n, H, W, 3) uint8.
        count: How many images the pieces have together.
        arrays: What else goes into it, by name, such as ``arr_1`` for the labels.
    """
    pieces = iter(images)
    first = next(pieces)
    others = {name: np.asarray(array) for name, array in (arrays or {}).items()}
    size = count * first[0].nbytes + sum(array.nbytes for array in others.values())
    with (
        written_whole(Path(path), size, overwrite=True) as temporary,
        zipfile.ZipFile(temporary, 'w') as archive,
    ):
        with archive.open(f'{IMAGES}.npy', 'w', force_zip64=True) as file:
            _write_images(file, chain([first], pieces), (count, *first.shape[1:]))
        for name, array in others.items():
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def check_same_size(size: tuple[int, int], other: tuple[int, int], what: str, than: str) -> None:
    """Refuses to compare images of different sizes."""
    if size != other:
        raise ValueError(
            f'{what} are {_by(size)}, but {than} is of {_by(other)} images; figures compare '
            'images of one size: take the reference batch of that size'
        )


def _write_images(file: IO[bytes], pieces: Iterable[np.ndarray], shape: tuple[int, ...]) -> None:
    header = dict(descr='|u1', fortran_order=False, shape=shape)
    np.lib.format.write_array_header_1_0(file, header)
    written = 0
    for piece in pieces:
        file.write(np.ascontiguousarray(piece, dtype=np.uint8).data)
        written += len(piece)
    if written != shape[0]:
        raise ValueError(f'{written} images came for a batch of {shape[0]}')


def _read_header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype]:
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except ValueError as error:
        raise ValueError(f'{path}: {IMAGES} is damaged ({error})') from error
    if fortran:
        raise ValueError(f'{path}: {IMAGES} is in Fortran order; save it again in C order')
    return shape, dtype


def _read_all(file: IO[bytes], size: int, path: Path) -> bytearray:
    data = bytearray()
    while len(data) < size and (piece := file.read(size - len(data))):
        data += piece
    if len(data) < size:
        raise ValueError(f'{path} ends before its images do; make or download it again')
    return data


def _check_shape(shape: tuple[int, ...], path: Path) -> None:
    if len(shape) == 3 or (len(shape) == 4 and shape[3] == 1):
        raise ValueError(f'{path} has grey images, {shape}; the metrics take RGB, (N, H, W, 3)')
    if len(shape) != 4 or shape[3] != 3:
        raise ValueError(f'{path}: {IMAGES} has shape {shape}, but images are (N, H, W, 3)')
    if shape[0] == 0:
        raise ValueError(f'{path} is a batch of no images')


def _image_files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob('*') if file.suffix.lower() in EXTENSIONS)


def _header(file: Path) -> tuple[int, int]:
    """An image file's height and width, if it is one that the metrics take."""
    try:
        with Image.open(file) as image:
            mode, width, height = image.mode, image.width, image.height
    except UnidentifiedImageError as error:
        raise ValueError(f'{file} is not an image that can be read') from error
    if mode != 'RGB':
        kind = 'grey' if mode in ('1', 'L', 'LA', 'I;16', 'I', 'F') else f'of mode {mode}'
        raise ValueError(f'{file} is {kind}; the metrics take 8-bit RGB: convert the images')
    return height, width


def _by(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
