"""Small images to be enlarged, from wherever they come."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from mmagic_adm.files.given_images import GivenImages, given_images
from mmagic_adm.files.npz import read_images


class BaseSamples(NamedTuple):
    """Small images and what is known of them.

    Attributes:
        images: (N, C, H, W) float in [-1, 1].
        labels: Class of each, where there are any.
    """

    images: Tensor
    labels: list[int] | None = None


def read_low_res(low_res: GivenImages) -> BaseSamples:
    """Small images as a tensor.

    Args:
        low_res: See :func:`~mmagic_adm.files.given_images.given_images`. An .npz may have labels.

    Raises:
        ValueError: There are no images in it, or values that no image has.
    """
    labels = None
    if isinstance(low_res, (str, Path)) and Path(low_res).suffix == '.npz':
        low_res, labels = read_images(Path(low_res))
    images = given_images(low_res, 'low_res')
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
