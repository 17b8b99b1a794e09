"""The family's .npz: images in ``arr_0``, (N, H, W, C) uint8, and their labels in ``arr_1``."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mmagic_adm.files.archives import open_archive
from mmagic_adm.files.whole import written_whole

IMAGES, LABELS = 'arr_0', 'arr_1'
_WAY_OUT = 'an .npz is a zip archive of arrays: make or download it again'
# An array's shape, whether it is in Fortran order, and its type.
_Header = tuple[tuple[int, ...], bool, np.dtype]


class ImagesFile:
    """The images of a file, read piece by piece, and their labels.

    Args:
        path: The file.

    Raises:
        ValueError: It is not in the format.
        CheckpointError: It is damaged, or no .npz.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.names = read_names(self.path)
        if IMAGES not in self.names:
            raise ValueError(
                f"{path} holds no images: in the family's format '{IMAGES}' is (N, H, W, C) uint8, "
                f'and this file has {", ".join(self.names) or "nothing"}'
            )
        with self._open() as (_, header):
            self.shape, is_fortran, dtype = header
        if dtype != np.uint8:
            raise ValueError(
                f'{path}: {IMAGES} is {dtype}, but images in a batch are uint8 from 0 to 255; '
                'quantise images x in [-1, 1] by ((x + 1) * 127.5).clip(0, 255).astype(numpy.uint8)'
            )
        if len(self.shape) != 4 or self.shape[3] not in (1, 3):
            raise ValueError(
                f'{path}: {IMAGES} has shape {self.shape}, but images are (N, H, W, C), C 1 or 3'
            )
        if is_fortran:
            raise ValueError(f'{path}: {IMAGES} is in Fortran order; save it again in C order')
        if not self.shape[0]:
            raise ValueError(f'{path} has no images: {IMAGES} is empty')

    def __len__(self) -> int:
        return self.shape[0]

    def pieces(self, size: int, first: int = 0, step: int = 1) -> Iterator[NDArray[np.uint8]]:
        """The images in their order, so many at a time.

        Args:
            size: Images in a piece; there may be fewer in the last.
            first: Number of the piece to begin with.
            step: How many pieces to go on by.
        """
        image_shape = self.shape[1:]
        image_bytes = math.prod(image_shape)
        with self._open() as (file, _):
            begin = file.tell()
            for start in range(first * size, len(self), step * size):
                count = min(size, len(self) - start)
                file.seek(begin + start * image_bytes)
                data = bytearray()
                while piece := file.read(count * image_bytes - len(data)):
                    data += piece
                yield np.frombuffer(data, np.uint8).reshape(count, *image_shape)

    def labels(self) -> NDArray[np.integer] | None:
        """One label for each image, if there are any."""
        if LABELS not in self.names:
            return None
        labels = read_arrays(self.path, [LABELS])[LABELS]
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f'{self.path}: {LABELS} is to be whole numbers, one an image, and is '
                f'{labels.shape} {labels.dtype}'
            )
        if len(labels) != len(self):
            raise ValueError(f'{self.path} holds {len(self)} images but {len(labels)} labels')
        return labels

    @contextmanager
    def _open(self) -> Iterator[tuple[IO[bytes], _Header]]:
        with open_archive(self.path, _WAY_OUT) as archive, _opened(archive, IMAGES) as array:
            yield array


def read_names(path: str | Path) -> list[str]:
    """What the arrays of a file are called."""
    with open_archive(Path(path), _WAY_OUT) as archive:
        return [name.removesuffix('.npy') for name in archive.namelist()]


def read_arrays(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of numbers or text in a file: those of the names, or all.

    Raises:
        CheckpointError: The file is damaged, or no .npz, or has not all of them.
    """
    names = read_names(path) if names is None else names
    with open_archive(Path(path), _WAY_OUT) as archive:
        arrays = {}
        for name in names:
            with _opened(archive, name) as (file, _):
                file.seek(0)
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays


@contextmanager
def _opened(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[IO[bytes], _Header]]:
    """An array's file, its header read, which describes as much as there is."""
    member = archive.getinfo(f'{name}.npy')
    with archive.open(member) as file:
        npy = np.lib.format
        is_old = npy.read_magic(file) == (1, 0)
        read = npy.read_array_header_1_0 if is_old else npy.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
        size = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and (size != member.file_size - file.tell() or not dtype.itemsize):
            raise ValueError(f'{name} is not as long as it says')
        yield file, (shape, is_fortran, dtype)


def read_images(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.integer] | None]:
    """All images and labels of a file; see :class:`ImagesFile`."""
    file = ImagesFile(path)
    return next(file.pieces(len(file))), file.labels()


def write_batch(
    path: str | Path,
    images: Iterable[np.ndarray],
    count: int,
    arrays: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes an .npz in the family's format; it has its name only once it is complete.

    Args:
        path: Where it goes; a file of that name is replaced.
        images: Pieces of it, each (n, H, W, C) uint8.
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


def _write_images(file: IO[bytes], pieces: Iterable[np.ndarray], shape: tuple[int, ...]) -> None:
    header = dict(descr='|u1', fortran_order=False, shape=shape)
    np.lib.format.write_array_header_1_0(file, header)
    written = 0
    for piece in pieces:
        file.write(np.ascontiguousarray(piece, dtype=np.uint8).data)
        written += len(piece)
    if written != shape[0]:
        raise ValueError(f'{written} images came for a batch of {shape[0]}')
