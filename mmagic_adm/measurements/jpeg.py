"""JPEG: which images a compressed one may have been."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmagic_adm.arguments import Argument, check_ranges
from mmagic_adm.measurements.operator import Ability, Operator, Shape
from mmagic_adm.registry import MODELS

# The standard's steps of quality 50 (ITU T.81, annex K.1), for brightness and for colour.
BRIGHTNESS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
COLOUR = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# The grey that counts as 0, in [-1, 1].
MIDDLE = 128 / 127.5 - 1
# RGB to YCbCr (JFIF).
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@MODELS.register_module()
class JPEG(Operator):
    """Images as JPEG leaves them, with colour at full resolution.

    It is not linear. What is known of an image is between which steps each of its cosines lies,
    and the nearest image of which that holds is found by keeping each within its own.

    Args:
        shape: Channels, height and width of the images: grey or RGB, in multiples of 8.
        quality: As programs count it, from 1 to 100.
    """

    name = 'jpeg'
    arguments = (Argument('quality', 10, 1, 100, 'quality as programs count it'),)
    abilities = frozenset({Ability.INVERSE})
    # A cosine is off by up to half a step, and 64 of them make a pixel.
    bound = 3.0
    cosines: Tensor
    steps: Tensor
    colours: Tensor

    def __init__(self, shape: Shape, quality: int = 10) -> None:
        check_ranges(self, quality=quality)
        super().__init__(shape)
        if shape[0] not in (1, 3) or shape[1] % 8 or shape[2] % 8:
            raise ValueError(f'JPEG takes grey or RGB in multiples of 8 pixels, not {(*shape,)}')
        n = torch.arange(8, dtype=torch.float64)
        cosines = torch.cos(math.pi * (2 * n + 1) * n[:, None] / 16) / 2
        cosines[0] /= math.sqrt(2)
        self.register_buffer('cosines', cosines[None])
        tables = torch.tensor([BRIGHTNESS, COLOUR, COLOUR][: shape[0]], dtype=torch.float64)
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality
        # In units of a pixel's byte; images here span 2 for its 255.
        steps = ((tables * scale + 50) / 100).floor().clamp(1, 255) / 127.5
        self.register_buffer('steps', steps.view(1, -1, 64, 1))
        colours = torch.tensor(YCBCR if shape[0] == 3 else [[1.0]], dtype=torch.float64)
        self.register_buffer('colours', colours[None])

    def forward(self, x: Tensor) -> Tensor:
        """The image after compression."""
        return self._image((self._coefficients(x) / self.steps).round() * self.steps).to(x.dtype)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """The nearest image, in cosines of YCbCr, that is compressed to y."""
        middle = (self._coefficients(y) / self.steps).round() * self.steps
        coefficients = self._coefficients(x)
        # Not quite to the ends of a step, from where rounding may lead either way.
        reach = 0.4999 * self.steps
        nearest = torch.minimum(torch.maximum(coefficients, middle - reach), middle + reach)
        return self._image(nearest).to(x.dtype)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """The way to the nearest image that is compressed to y."""
        return self.project(x, y) - x

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """What is missing to an image is an image."""
        return y

    def _coefficients(self, x: Tensor) -> Tensor:
        """The cosines of each block of 8x8, (N, C, 64, blocks)."""
        x = (self.colours @ (x.double() - MIDDLE).flatten(2)).unflatten(2, x.shape[2:])
        blocks = F.unfold(x.flatten(0, 1)[:, None], 8, stride=8).unflatten(0, x.shape[:2])
        return torch.kron(self.cosines[0], self.cosines[0]) @ blocks

    def _image(self, coefficients: Tensor) -> Tensor:
        blocks = torch.kron(self.cosines[0], self.cosines[0]).mT @ coefficients
        planes = F.fold(blocks.flatten(0, 1), self.shape[1:], 8, stride=8)
        planes = planes.view(len(coefficients), *self.shape)
        colours = self.colours.inverse() @ planes.flatten(2)
        return colours.unflatten(2, self.shape[1:]) + MIDDLE
