"""Square crops, taken as the published models saw them, and what makes a data set larger."""

import logging
import math
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from PIL import Image

from mmagic_adm.registry import TRANSFORMS

Pixels = NDArray[np.uint8]


def shrink(image: Pixels, shorter_side: int) -> Pixels:
    """Resizes (H, W, C) so that its shorter side is of this length, without aliasing.

    Halves by averaging while that leaves enough, and goes the rest of the way by a cubic.
    """
    pil = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    while min(pil.size) >= 2 * shorter_side:
        pil = pil.resize((pil.width // 2, pil.height // 2), Image.Resampling.BOX)
    scale = shorter_side / min(pil.size)
    size = (round(pil.width * scale), round(pil.height * scale))
    return np.atleast_3d(np.asarray(pil.resize(size, Image.Resampling.BICUBIC)))


def center_crop(image: Pixels, size: int) -> Pixels:
    """The middle square of (H, W, C), at (size, size)."""
    image = shrink(image, size)
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def random_crop(
    image: Pixels,
    size: int,
    rng: np.random.Generator,
    min_fraction: float = 0.8,
    max_fraction: float = 1.0,
) -> Pixels:
    """A square of (H, W, C) from anywhere, at (size, size).

    Args:
        image: The image.
        size: Height and width of the result.
        rng: Chooses.
        min_fraction: Least length of the square, as a fraction of the image's shorter side.
        max_fraction: Greatest.
    """
    shortest, longest = math.ceil(size / max_fraction), math.ceil(size / min_fraction)
    image = shrink(image, int(rng.integers(shortest, longest, endpoint=True)))
    top = int(rng.integers(image.shape[0] - size, endpoint=True))
    left = int(rng.integers(image.shape[1] - size, endpoint=True))
    return image[top : top + size, left : left + size]


class _Crop:
    """What crops share: a size, and a word about images that do not reach it."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f'a crop is at least a pixel wide; size={size}')
        self.size = size
        self._reported = False

    def _check(self, results: dict[str, Any]) -> Pixels:
        image = results['img']
        height, width = image.shape[:2]
        if min(height, width) < self.size and not self._reported:
            self._reported = True
            name = results.get('gt_path', 'an image')
            print_log(
                f'{name} is {width}x{height}, smaller than the crop of {self.size}x{self.size}: '
                'enlarged; others like it will be, without a word',
                'current',
                logging.WARNING,
            )
        return image


@TRANSFORMS.register_module()
class CenterSquare(_Crop):
    """Crops ``img`` to its middle square, resized.

    Args:
        size: Height and width of the result.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img``."""
        return {**results, 'img': center_crop(self._check(results), self.size)}


@TRANSFORMS.register_module()
class RandomSquare(_Crop):
    """Crops ``img`` to a random square, resized.

    Args:
        size: Height and width of the result.
        min_fraction: Least length of the square, as a fraction of the image's shorter side.
        max_fraction: Greatest.
    """

    def __init__(self, size: int, min_fraction: float = 0.8, max_fraction: float = 1.0) -> None:
        super().__init__(size)
        if not 0 < min_fraction <= max_fraction <= 1:
            raise ValueError(
                'fractions of a side go from above 0 to 1, the least first; '
                f'min_fraction={min_fraction}, max_fraction={max_fraction}'
            )
        self.fractions = min_fraction, max_fraction

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img``."""
        cropped = random_crop(self._check(results), self.size, results['rng'], *self.fractions)
        return {**results, 'img': cropped}


@TRANSFORMS.register_module()
class RandomMirror:
    """Mirrors ``img`` left to right, every other time.

    Args:
        prob: How often.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img``, or leaves it."""
        if results['rng'].random() >= self.prob:
            return results
        return {**results, 'img': results['img'][:, ::-1]}


@TRANSFORMS.register_module()
class RandomAffine:
    """Turns, stretches and slants ``img`` about its middle, by normally distributed amounts.

    Args:
        turn: Standard deviation of the angle, in radians.
        stretch: Standard deviation of the factor along each axis, about 1.
        slant: Standard deviation of the shear.
    """

    def __init__(self, turn: float = 0.0, stretch: float = 0.0, slant: float = 0.0) -> None:
        self.turn, self.stretch, self.slant = turn, stretch, slant

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img``; what comes in from outside is black."""
        rng, image = results['rng'], results['img']
        angle, slant = rng.normal(0, self.turn), rng.normal(0, self.slant)
        wide, high = rng.normal(1, self.stretch, 2)
        cos, sin = math.cos(angle), math.sin(angle)
        # Where in the source each pixel comes from: A (p - middle) + middle.
        a, b, d, e = wide * cos, slant - sin, sin, high * cos
        x, y = image.shape[1] / 2, image.shape[0] / 2
        shift = x - a * x - b * y, y - d * x - e * y
        channels = [
            Image.fromarray(channel).transform(
                (image.shape[1], image.shape[0]),
                Image.Transform.AFFINE,
                (a, b, shift[0], d, e, shift[1]),
                Image.Resampling.BILINEAR,
            )
            for channel in np.moveaxis(image, -1, 0)
        ]
        return {**results, 'img': np.stack([np.asarray(channel) for channel in channels], -1)}


@TRANSFORMS.register_module()
class RandomGrain:
    """Adds noise to ``img``.

    Args:
        max_std: The noise's standard deviation is drawn from 0 to this, in units of 0..255.
    """

    def __init__(self, max_std: float) -> None:
        self.max_std = max_std

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img``."""
        rng, image = results['rng'], results['img']
        noise = rng.uniform(0, self.max_std) * rng.standard_normal(image.shape)
        return {**results, 'img': np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)}
