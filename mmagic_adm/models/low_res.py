"""Small images to be enlarged, from wherever they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import as_images, as_pixels, list_images, read_picture

LowRes = Tensor | np.ndarray | str | Path | Sequence[str | Path]


class BaseSamples(NamedTuple):
    """Small images and what is known of them.

    Attributes:
        images: (N, C, H, W) float in [-1, 1].
        labels: Class of each, where there are any.
    """

    images: Tensor
    labels: list[int] | None = None


def read_low_res(low_res: LowRes) -> BaseSamples:
    """Small images as a tensor.

    Args:
        low_res: A tensor or array of images: (N, C, H, W) float in [-1, 1] or uint8, or (N, H, W,
            C) uint8; an .npz of samples in the family's format; an image file; a folder of them;
            or a list of image files.

    Raises:
        ValueError: There are no images in it, or values that no image has.
    """
    labels = None
    if isinstance(low_res, (str, Path)):
        path = Path(low_res)
        if path.suffix == '.npz':
            low_res, labels = read_images(path)
        elif path.is_dir():
            low_res = [path / file for file in list_images(path)]
        elif path.is_file():
            low_res = [path]
        else:
            raise ValueError(f'there is no file or folder {path}')
    if not isinstance(low_res, (Tensor, np.ndarray)):
        low_res = _read_files(low_res)
    images = _as_images(torch.as_tensor(low_res))
    return BaseSamples(images, None if labels is None else labels.tolist())


def fit_to(images: Tensor, size: int, resize: bool) -> Tensor:
    """Images of the size that an upsampler was trained on.

    Args:
        images: (N, C, H, W).
        size: Height and width they should have.
        resize: Whether to resize others, rather than refuse them.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    if not resize:
        raise ValueError(
            f'low_res holds images of {height}x{width} pixels; this model enlarges {size}x{size}. '
            'Choose another model, or resize_low_res=True (--resize-low-res) to resize them'
        )
    return F.interpolate(images, (size, size), mode='bicubic', antialias=True).clamp(-1, 1)


def _as_images(images: Tensor) -> Tensor:
    if images.ndim != 4 or not len(images):
        raise ValueError(
            f'low_res has shape {tuple(images.shape)}; it should be (N, C, H, W), N from 1'
        )
    is_float = images.is_floating_point()
    lowest, highest = (-1.001, 1.001) if is_float else (0, 255)
    low, high = images.min().item(), images.max().item()
    if not lowest <= low <= high <= highest:
        raise ValueError(
            f'low_res has {"float" if is_float else "whole"} values from {low:g} to {high:g}; '
            'images are float in [-1, 1], or uint8 in [0, 255]'
        )
    if is_float:
        return images.float()
    channels_last = images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3)
    return as_images((images.permute(0, 3, 1, 2) if channels_last else images).to(torch.uint8))


def _read_files(files: Sequence[str | Path]) -> Tensor:
    """Images of files, (N, 3, H, W) uint8."""
    if not files:
        raise ValueError('low_res is an empty list: give at least one image')
    images = [as_pixels(read_picture(file), 'RGB', file) for file in files]
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        listed = ', '.join(f'{height}x{width}' for height, width in sorted(sizes))
        raise ValueError(f'the images of low_res differ in size ({listed}); they must be alike')
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
