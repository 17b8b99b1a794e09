"""Images as tensors, as pictures and as arrays, and many of them on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mmagic_adm.files.whole import written_whole

GAP = 2
CAPTION_HEIGHT = 12
SMALLEST_SHOWN = 64


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
    arrays = [np.asarray(picture) for picture in pictures]
    return np.stack([array[..., None] if array.ndim == 2 else array for array in arrays])


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
            pen.text((corner[0], corner[1] + height), captions[i][: width // 6], fill='black')
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
