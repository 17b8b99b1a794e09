"""Images from a person: as tensors or arrays, as pictures, or in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import Mode, as_images, as_pixels, list_images, read_picture

OneGiven: TypeAlias = Tensor | np.ndarray | Image.Image | str | Path
GivenImages: TypeAlias = OneGiven | Sequence[OneGiven]


def given_images(given: GivenImages, what: str, mode: Mode = 'RGB') -> Tensor:
    """Images as one tensor, (N, C, H, W) float in [-1, 1].

    Args:
        given: A tensor or array: (N, C, H, W) float in [-1, 1] or uint8, or (N, H, W, C) uint8, or
            one image of it; a picture of PIL's; an image file; a folder of them; an .npz of samples
            in the family's format; or a list of any of these.
        what: What an error calls them.
        mode: What pictures and files become: 'RGB', or 'L' for grey.

    Raises:
        ValueError: There are no images in it, or values that no image has.
    """
    if isinstance(given, (str, Path)):
        given = _from_path(Path(given))
    if isinstance(given, Image.Image):
        given = as_pixels(given, mode, what)
    if isinstance(given, np.ndarray):
        given = torch.from_numpy(np.require(given, requirements='W'))
    if isinstance(given, Tensor):
        return _from_numbers(given, what)
    each = [given_images(one, what, mode) for one in given]
    if not each:
        raise ValueError(f'{what} is an empty list: give at least one image')
    shapes = {images.shape[1:] for images in each}
    if len(shapes) > 1:
        listed = ', '.join(f'{height}x{width}' for _, height, width in sorted(shapes))
        raise ValueError(f'the images of {what} differ in size ({listed}); they must be alike')
    return torch.cat(each)


def _from_path(path: Path) -> np.ndarray | Image.Image | list[Path]:
    if path.suffix == '.npz':
        return read_images(path)[0]
    if path.is_dir():
        return [path / file for file in list_images(path)]
    if path.is_file():
        return read_picture(path)
    raise ValueError(f'there is no file or folder {path}')


def _from_numbers(images: Tensor, what: str) -> Tensor:
    if images.ndim in (2, 3):
        images = images[(None,) * (4 - images.ndim)]
    if images.ndim != 4 or not len(images):
        raise ValueError(
            f'{what} has shape {tuple(images.shape)}; it should be (N, C, H, W), N from 1'
        )
    is_float = images.is_floating_point()
    lowest, highest = (-1.001, 1.001) if is_float else (0, 255)
    low, high = images.min().item(), images.max().item()
    if not lowest <= low <= high <= highest:
        raise ValueError(
            f'{what} has {"float" if is_float else "whole"} values from {low:g} to {high:g}; '
            'images are float in [-1, 1], or uint8 in [0, 255]'
        )
    if is_float:
        return images.float()
    channels_last = images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3)
    return as_images((images.permute(0, 3, 1, 2) if channels_last else images).to(torch.uint8))
