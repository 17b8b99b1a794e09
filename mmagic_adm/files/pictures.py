"""Images in files, as pictures, as arrays and as tensors, and many of them on one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from mmagic_adm.files.whole import written_whole

Mode = Literal['RGB', 'L']

EXTENSIONS = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
# Those of PIL's that are made of pixels; for others it runs programs.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')

GAP = 2
CAPTION_HEIGHT = 12
SMALLEST_SHOWN = 64


class UnreadableImageError(ValueError):
    """An image file is damaged, or is no image."""


def list_images(folder: str | Path) -> list[str]:
    """The image files in a folder and below it, relative to it, in order.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'there is no folder {folder}')
    files = [
        os.path.relpath(os.path.join(parent, file), folder)
        for parent, _, names in os.walk(folder, followlinks=True)
        for file in names
    ]
    images = [file for file in files if _names_an_image(os.path.basename(file))]
    if not images:
        raise FileNotFoundError(
            f'there are no images in {folder}: {len(files)} files, none ending in '
            f'{", ".join(EXTENSIONS)}'
        )
    return sorted(images)


@contextmanager
def opened(file: str | Path | IO[bytes], name: str | Path | None = None) -> Iterator[Image.Image]:
    """An image file, of which only the head was read yet.

    Args:
        file: Its path, or the file.
        name: What an error calls it; None is its path.

    Raises:
        UnreadableImageError: It is damaged, no image, or not there.
    """
    try:
        with Image.open(file, formats=FORMATS) as picture:
            yield picture
    except FileNotFoundError:
        raise UnreadableImageError(f'there is no file {name or file}') from None
    # There is no end to what damage in a file can make of it.
    except Exception as error:
        raise UnreadableImageError(
            f'{name or file} is no readable image: {error}; make or copy it again'
        ) from error


def read_picture(file: str | Path | IO[bytes], name: str | Path | None = None) -> Image.Image:
    """Reads an image file, as :func:`opened` opens it."""
    with opened(file, name) as picture:
        picture.load()
        return picture


def as_pixels(picture: Image.Image, mode: Mode, name: str | Path = 'an image') -> NDArray[np.uint8]:
    """A picture of any mode as (H, W, C), in RGB or grey.

    Args:
        picture: The picture.
        mode: 'RGB', or 'L' for grey.
        name: What an error calls it.

    Raises:
        UnreadableImageError: Nobody knows which of its numbers is white.
    """
    if picture.mode in ('I', 'F'):
        raise UnreadableImageError(
            f'{name} has pixels of mode {picture.mode}, of no known range; store 8 or 16 bits'
        )
    if picture.mode.startswith('I;16'):
        # PIL would cut 16 bits off at 255 instead of scaling them.
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return np.atleast_3d(np.asarray(picture.convert(mode)))


def as_images(images: Tensor | Sequence[Tensor]) -> Tensor:
    """One float tensor in [-1, 1], whatever form the images came in."""
    if not isinstance(images, Tensor):
        images = torch.stack(list(images))
    if images.dtype == torch.uint8:
        return images.float() / 127.5 - 1
    if not images.is_floating_point():
        raise ValueError(f'images are uint8 in 0..255 or float in [-1, 1], not {images.dtype}')
    return images


def as_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] as whole numbers 0..255, quantised as the published figures were."""
    return ((images + 1) * 127.5).clamp(0, 255).to(torch.uint8)


def as_pictures(images: Tensor) -> list[Image.Image]:
    """Images (N, C, H, W), uint8 or in [-1, 1], as pictures, grey or RGB."""
    pixels = images if images.dtype == torch.uint8 else as_uint8(images)
    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays]


def as_array(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Pictures as (N, H, W, C) uint8."""
    return np.stack([np.atleast_3d(np.asarray(picture)) for picture in pictures])


def contact_sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    columns: int | None = None,
) -> Image.Image:
    """Pictures of one size in rows, each with a caption underneath if there are any.

    Small pictures are enlarged by a whole factor, with hard edges, so that every pixel is seen.

    Args:
        pictures: At least one.
        captions: One for each.
        columns: Pictures in a row; None makes the sheet about square.
    """
    factor = math.ceil(SMALLEST_SHOWN / pictures[0].width)
    width, height = (side * factor for side in pictures[0].size)
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    below = CAPTION_HEIGHT if captions else 0
    cell_width, cell_height = width + GAP, height + below + GAP
    sheet = Image.new('RGB', (columns * cell_width + GAP, rows * cell_height + GAP), 'white')
    pen = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        corner = GAP + i % columns * cell_width, GAP + i // columns * cell_height
        sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), corner)
        if captions:
            caption = captions[i]
            while pen.textlength(caption) > cell_width:
                caption = caption[:-1]
            pen.text((corner[0], corner[1] + height), caption, fill='black')
    return sheet


def write_picture(path: Path, picture: Image.Image, **options: Any) -> None:
    """Writes a picture, whole or not at all; one of that name is replaced.

    Args:
        path: Where it goes.
        picture: The picture.
        **options: Of :meth:`PIL.Image.Image.save`; without any it is a PNG.
    """
    size = picture.width * picture.height * len(picture.getbands())
    with written_whole(path, size, overwrite=True) as temporary:
        picture.save(temporary, **{'format': 'PNG', **options})


def _names_an_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith('.')
