"""Small images to be enlarged, from wherever they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import as_images

LowRes = Tensor | np.ndarray | str | Path | Sequence[str | Path]
IMAGE_SUFFIXES = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.webp'})


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
    if isinstance(low_res, (Tensor, np.ndarray)):
        return BaseSamples(_as_images(torch.as_tensor(low_res)))
    if isinstance(low_res, (str, Path)):
        path = Path(low_res)
        if path.suffix == '.npz':
            pixels, labels = read_images(path)
            return BaseSamples(
                _as_images(torch.from_numpy(pixels)), None if labels is None else labels.tolist()
            )
        return BaseSamples(_read_files(_image_files(path)))
    return BaseSamples(_read_files([Path(file) for file in low_res]))


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
    if images.is_floating_point():
        low, high = images.min().item(), images.max().item()
        if not -1.001 <= low <= high <= 1.001:
            raise ValueError(
                f'low_res has float values from {low:g} to {high:g}; they should be in [-1, 1], '
                'or uint8 in [0, 255]'
            )
        return images.float()
    low, high = int(images.min()), int(images.max())
    if not 0 <= low <= high <= 255:
        raise ValueError(f'low_res has values from {low} to {high}; they should be in [0, 255]')
    channels_last = images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3)
    images = images.permute(0, 3, 1, 2) if channels_last else images
    return as_images(images.to(torch.uint8))


def _image_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f'there is no file or folder {path}')
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ValueError(f'{path} holds no images ({", ".join(sorted(IMAGE_SUFFIXES))})')
    return files


def _read_files(files: Sequence[Path]) -> Tensor:
    if not files:
        raise ValueError('low_res is an empty list: give at least one image')
    pictures = [np.asarray(Image.open(file).convert('RGB')) for file in files]
    sizes = {picture.shape[:2] for picture in pictures}
    if len(sizes) > 1:
        listed = ', '.join(f'{height}x{width}' for height, width in sorted(sizes))
        raise ValueError(f'the images of low_res differ in size ({listed}); they must be alike')
    return _as_images(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))
