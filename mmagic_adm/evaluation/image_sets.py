"""Sets of images, in .npz, folders, databases or data sets, read piece by piece as RGB."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmagic_adm.files.download import fetch
from mmagic_adm.files.npz import ImagesFile
from mmagic_adm.files.pictures import as_pixels, list_images, opened, read_picture
from mmagic_adm.registry import DATASETS, SCOPE, build_part

Pixels = NDArray[np.uint8]

# What `mmagic-adm sample` calls the file that has all its images, beside other pictures.
SAMPLES = 'samples.npz'
# What LMDB calls a database in its folder.
DATABASE = 'data.mdb'
FILTERS = {
    name.lower(): Image.Resampling[name] for name in ('BICUBIC', 'LANCZOS', 'BILINEAR', 'BOX')
}


@dataclass(frozen=True)
class Resize:
    """Brings images of other sizes to one, by Pillow, which lets nothing alias.

    Whoever asks for it says by which filter: figures differ by it (Parmar et al. 2022).

    Args:
        size: Height and width, in pixels.
        filter: One of :data:`FILTERS`.
    """

    size: int
    filter: str = 'bicubic'

    def __post_init__(self) -> None:
        if self.filter not in FILTERS or self.size < 1:
            raise ValueError(
                f'images are resized to a number of pixels by one of {", ".join(FILTERS)}, not to '
                f'{self.size} by {self.filter}'
            )

    def __call__(self, image: Pixels) -> Pixels:
        """An image, (H, W, 3); one of the size is left alone."""
        size = (self.size, self.size)
        if image.shape[:2] == size:
            return image
        return np.asarray(Image.fromarray(image).resize(size, FILTERS[self.filter]))

    def __str__(self) -> str:
        return f'to {self.size}x{self.size} by {self.filter} (Pillow, antialiased)'


class ImageSet(ABC):
    """Images of one size, in their order; grey ones as RGB.

    Args:
        path: Where they are, or what speaks of it.
        count: How many images there are.
        size: Height and width of the first.
        labels: The class of each, if they have any.
        resize: What brings them to one size; None refuses other sizes than the first's.

    Attributes:
        size: Their height and width.
    """

    def __init__(
        self,
        path: Path,
        count: int,
        size: Sequence[int],
        labels: Sequence[int] | None = None,
        resize: Resize | None = None,
    ) -> None:
        self.path, self.count, self.labels, self.resize = path, count, labels, resize
        self.size = (resize.size, resize.size) if resize else (size[0], size[1])

    @abstractmethod
    def pieces(self, size: int, first: int, step: int) -> Iterator[Sequence[Pixels]]:
        """The images as they are, (H, W, 1 or 3) each, as :meth:`batches` asks for them."""

    @abstractmethod
    def stamp(self) -> str:
        """What changes whenever the images do, on this machine; found without reading them."""

    def batches(self, batch_size: int, first: int = 0, step: int = 1) -> Iterator[Tensor]:
        """The images in their order, batch by batch, (N, 3, H, W) uint8.

        Args:
            batch_size: Images in a batch; there may be fewer in the last.
            first: Number of the batch to begin with.
            step: How many batches to go on by: 1 gives all, the number of processes a share.
        """
        number = first * batch_size
        for piece in self.pieces(batch_size, first, step):
            images = [self._as_rgb(image) for image in piece]
            for i, image in enumerate(images):
                if image.shape[:2] != self.size:
                    raise ValueError(_mixed(f'{self.path}[{number + i}]', image.shape, self))
            yield torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
            number += step * batch_size

    def picture(self, number: int) -> Image.Image:
        """One of them."""
        [image] = next(self.batches(1, number))
        return Image.fromarray(image.permute(1, 2, 0).numpy())

    def _as_rgb(self, image: Pixels) -> Pixels:
        """An image as RGB, of the size asked for."""
        image = image.repeat(3, axis=-1) if image.shape[-1] == 1 else image
        return self.resize(image) if self.resize else image


class ImageBatch(ImageSet):
    """The images of an .npz file; what they take in memory is one batch."""

    def __init__(self, path: str | Path, resize: Resize | None = None) -> None:
        self._file = file = ImagesFile(path)
        labels = file.labels()
        given = None if labels is None else labels.tolist()
        super().__init__(Path(path), len(file), file.shape[1:], given, resize)

    def pieces(self, size: int, first: int, step: int) -> Iterator[Sequence[Pixels]]:
        """The images as they are."""
        yield from self._file.pieces(size, first, step)  # type: ignore[misc]

    def stamp(self) -> str:
        """By the file's place, length and time."""
        return _stamp_of([self.path])


class ImageFolder(ImageSet):
    """The image files in a folder and below, in the order of their names."""

    def __init__(self, path: str | Path, resize: Resize | None = None) -> None:
        self.files = [Path(path, name) for name in list_images(path)]
        sizes = [_header(file) for file in self.files]
        super().__init__(Path(path), len(sizes), sizes[0], None, resize)
        for file, size in zip(self.files, sizes, strict=True):
            if not resize and size != self.size:
                raise ValueError(_mixed(str(file), size, self, str(self.files[0])))

    def pieces(self, size: int, first: int, step: int) -> Iterator[Sequence[Pixels]]:
        """The images as they are."""
        for start in range(first * size, self.count, step * size):
            files = self.files[start : start + size]
            yield [as_pixels(read_picture(file), 'RGB', file) for file in files]

    def stamp(self) -> str:
        """By the files' names, lengths and times."""
        return _stamp_of(self.files)


class DatasetImages(ImageSet):
    """The images of one of MMEngine's data sets, as its pipeline leaves them.

    What the pipeline does at random is the same every time.
    """

    def __init__(self, config: dict, resize: Resize | None = None) -> None:
        self._config, self._dataset = config, build_part(DATASETS, config)
        self._dataset.full_init()
        count = len(self._dataset)
        place = config.get('data_root') or config.get('ann_file') or config.get('type')
        is_labelled = self._info(0).get('gt_label') is not None
        labels = [int(self._info(i)['gt_label']) for i in range(count)] if is_labelled else None
        super().__init__(Path(str(place)), count, self._image(0).shape, labels, resize)

    def pieces(self, size: int, first: int, step: int) -> Iterator[Sequence[Pixels]]:
        """The images as they are."""
        for start in range(first * size, self.count, step * size):
            yield [self._image(i) for i in range(start, min(start + size, self.count))]

    def stamp(self) -> str:
        """By the config, and the lengths and times of the files that there are."""
        files = [self.path / DATABASE, self.path]
        if Path(self._info(0).get('gt_path', '')).is_file():
            files += [Path(self._info(i)['gt_path']) for i in range(self.count)]
        config = json.dumps(self._config, sort_keys=True, default=repr)
        return f'{config} {self.count} {_stamp_of([file for file in files if file.is_file()])}'

    def _info(self, number: int) -> dict[str, Any]:
        return self._dataset.get_data_info(number)

    def _image(self, number: int) -> Pixels:
        info = {**self._info(number), 'rng': np.random.default_rng(number)}
        item = self._dataset.pipeline(info)
        if isinstance(item.get('inputs'), Tensor):
            return item['inputs'].permute(1, 2, 0).numpy()
        if 'img' not in item:
            raise ValueError(
                f'the pipeline of the {type(self._dataset).__name__} gives no image: begin it with '
                "dict(type='ReadImage')"
            )
        return np.atleast_3d(item['img'])


def open_images(source: str | Path | dict, resize: Resize | None = None) -> ImageSet:
    """Opens a set of images, and checks that they are what the metrics can take.

    Args:
        source: An .npz with the images in arr_0, (N, H, W, 1 or 3) uint8, or its URL; a folder of
            image files, or one that ``mmagic-adm sample`` filled; one of LSUN's databases; or the
            config of a data set.
        resize: What to bring the images to one size by; None refuses other sizes than the first's.

    Raises:
        FileNotFoundError: There are no images in a folder.
        ValueError: The images are of another kind, or there is no such file.
    """
    if isinstance(source, dict):
        return DatasetImages(source, resize)
    path = fetch(source) if '://' in str(source) else Path(source).expanduser()
    if (path / DATABASE).is_file():
        pipeline = [dict(type='ReadImage', _scope_=SCOPE)]
        return DatasetImages(dict(type='LSUN', data_root=str(path), pipeline=pipeline), resize)
    if path.is_dir():
        samples = path / SAMPLES
        return ImageBatch(samples, resize) if samples.is_file() else ImageFolder(path, resize)
    if not path.is_file():
        raise ValueError(f'{path} does not exist; give an .npz batch or a folder of images')
    return ImageBatch(path, resize)


def check_same_size(size: tuple[int, int], other: tuple[int, int], what: str, than: str) -> None:
    """Refuses to compare images of different sizes."""
    if size != other:
        raise ValueError(
            f'{what} are {_by(size)}, but {than} is of {_by(other)} images; figures compare '
            'images of one size: take the reference batch of that size, or have all resized '
            '(--resize)'
        )


def _header(file: Path) -> tuple[int, int]:
    """An image file's height and width, if it is one that the metrics take."""
    with opened(file) as image:
        mode, width, height = image.mode, image.width, image.height
    if mode not in ('RGB', 'L', '1'):
        raise ValueError(
            f'{file} is of mode {mode}; the metrics take 8-bit RGB or grey: convert it'
        )
    return height, width


def _mixed(name: str, size: Sequence[int], others: ImageSet, first: str = 'the first') -> str:
    """What to say of an image of another size."""
    return (
        f'{name} is {_by(size)} and {first} is {_by(others.size)}; the images of a set have one '
        'size, or are resized to one (--resize)'
    )


def _stamp_of(files: Sequence[Path]) -> str:
    """The names, lengths and times of files, in short."""
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f'{file.resolve()} {status.st_size} {status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _by(size: Sequence[int]) -> str:
    return f'{size[0]}x{size[1]}'
