"""What becomes of an image on its way to the model: read, cropped, varied, packed."""

import io
import logging
import math
from typing import Any

import numpy as np
import torch
from mmagic.structures import DataSample
from mmengine.logging import print_log
from numpy.typing import NDArray
from PIL import Image

from mmagic_adm.files.pictures import Mode, as_pixels, read_picture
from mmagic_adm.registry import TRANSFORMS

Pixels = NDArray[np.uint8]


@TRANSFORMS.register_module()
class ReadImage:
    """Reads the image file ``gt_path``, or the one whose bytes are in ``encoded``.

    Images of another mode are converted; the first of each mode is reported.

    Args:
        mode: 'RGB', or 'L' for grey.
    """

    def __init__(self, mode: Mode = 'RGB') -> None:
        self.mode: Mode = mode
        self._reported: set[str] = set()

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, (H, W, C) uint8."""
        name = results['gt_path']
        source = io.BytesIO(results['encoded']) if 'encoded' in results else name
        picture = read_picture(source, name)
        image = as_pixels(picture, self.mode, name)
        if picture.mode != self.mode:
            self._report(name, picture)
        return {**results, 'img': image}

    def _report(self, name: str, picture: Image.Image) -> None:
        loss = ', its transparency lost' if picture.has_transparency_data else ''
        kind = picture.mode + loss
        if kind not in self._reported:
            self._reported.add(kind)
            print_log(
                f'{name} is of mode {picture.mode}: converted to {self.mode}{loss}; others like it '
                'will be, without a word',
                'current',
                logging.WARNING,
            )


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


@TRANSFORMS.register_module()
class CenterSquare:
    """Crops ``img`` to its middle square, resized.

    An image that does not reach the size is enlarged; the first is reported.

    Args:
        size: Height and width of the result.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f'a crop is at least a pixel wide; size={size}')
        self.size = size
        self._reported = False

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img``."""
        height, width = results['img'].shape[:2]
        if min(height, width) < self.size and not self._reported:
            self._reported = True
            print_log(
                f'{results.get("gt_path", "an image")} is {width}x{height}, smaller than the crop '
                f'of {self.size}x{self.size}: enlarged; others like it will be, without a word',
                'current',
                logging.WARNING,
            )
        return {**results, 'img': self._crop(results)}

    def _crop(self, results: dict[str, Any]) -> Pixels:
        image = shrink(results['img'], self.size)
        top, left = ((side - self.size) // 2 for side in image.shape[:2])
        return image[top : top + self.size, left : left + self.size]


@TRANSFORMS.register_module()
class RandomSquare(CenterSquare):
    """Crops ``img`` to a square from anywhere in it, resized.

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
        self.shorter_sides = math.ceil(size / max_fraction), math.ceil(size / min_fraction)

    def _crop(self, results: dict[str, Any]) -> Pixels:
        rng = results['rng']
        image = shrink(results['img'], int(rng.integers(*self.shorter_sides, endpoint=True)))
        top, left = (int(rng.integers(side - self.size, endpoint=True)) for side in image.shape[:2])
        return image[top : top + self.size, left : left + self.size]


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
        fill: The value of what comes in from outside, 0 for black to 255 for white.
    """

    def __init__(
        self, turn: float = 0.0, stretch: float = 0.0, slant: float = 0.0, fill: int = 0
    ) -> None:
        self.turn, self.stretch, self.slant, self.fill = turn, stretch, slant, fill

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img``."""
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
                fillcolor=self.fill,
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


@TRANSFORMS.register_module()
class PackTrainingImage:
    """Turns ``img``, (H, W, C) uint8, and ``gt_label`` into what the models take.

    Gives ``inputs``, a (C, H, W) uint8 tensor, and ``data_samples``, which carries the label if
    there is one.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs one image."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = DataSample()
        if results.get('gt_label') is not None:
            sample.set_gt_label(int(results['gt_label']))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
