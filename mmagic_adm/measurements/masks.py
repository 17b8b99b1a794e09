"""Inpainting: some pixels are seen, the others are to be invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmagic_adm.arguments import Argument, check_ranges
from mmagic_adm.files.pictures import as_pixels, read_picture
from mmagic_adm.measurements.operator import SIGMA_Y, Noise, Operator, Shape
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class Inpainting(Operator):
    """Images with holes: pixels that are not seen are 0 in y.

    Args:
        shape: Channels, height and width of the images.
        mask: 1 where a pixel is seen and 0 where it is missing, (H, W), or (N, 1, H, W) with one
            for each sample; or the path of a picture that is white where it is seen.
        sigma_y: See :class:`Operator`.
    """

    name = 'inpainting'
    bound = 1.0
    mask: Tensor

    def __init__(self, shape: Shape, mask: Tensor | str | Path, sigma_y: Noise = 0.0) -> None:
        super().__init__(shape, sigma_y)
        if isinstance(mask, (str, Path)):
            mask = torch.from_numpy(as_pixels(read_picture(mask), 'L', mask)[..., 0] > 127)
        mask = mask.double()[None, None] if mask.ndim == 2 else mask.double()
        if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[2:] != torch.Size(shape[1:]):
            raise ValueError(
                f'the mask has shape {(*mask.shape,)}; for images of {(*shape,)} it is '
                f'({shape[1]}, {shape[2]}), or (N, 1, {shape[1]}, {shape[2]})'
            )
        self.register_buffer('mask', mask)
        if not ((self.mask == 0) | (self.mask == 1)).all():
            raise ValueError('a mask is 1 where a pixel is seen and 0 elsewhere')

    def forward(self, x: Tensor) -> Tensor:
        """The image with 0 in its holes."""
        return x * self.mask.to(x.dtype)

    def adjoint(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)

    def weigh(self, x: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
        """The pixels are the directions, and the mask has their singular values."""
        return x * weight(self.mask).to(x.dtype)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """What an image lacks where it is seen, whatever y holds in its holes."""
        return self(y.to(x.dtype) - x)

    def check(self) -> None:
        """Refuses a mask that hides all."""
        hidden = (self.mask.flatten(1).amax(dim=1) == 0).nonzero().flatten().tolist()
        if hidden:
            raise ValueError(
                f'the mask hides all of the image (samples {hidden}): there is nothing to go by; '
                'it is 1, or white, where a pixel is seen'
            )


@MODELS.register_module()
class BoxInpainting(Inpainting):
    """Images with a box missing, whose place is given in shares of the image.

    Args:
        shape: Channels, height and width of the images.
        top: Where it begins.
        left: Where it begins.
        height: Its size.
        width: Its size.
        sigma_y: See :class:`Operator`.
    """

    name = 'box'
    arguments = (
        Argument('top', 0.25, 0.0, 1.0, 'upper edge of the hole'),
        Argument('left', 0.25, 0.0, 1.0, 'left edge of the hole'),
        Argument('height', 0.5, 0.0, 1.0, 'height of the hole'),
        Argument('width', 0.5, 0.0, 1.0, 'width of the hole'),
        SIGMA_Y,
    )

    def __init__(
        self,
        shape: Shape,
        top: float = 0.25,
        left: float = 0.25,
        height: float = 0.5,
        width: float = 0.5,
        sigma_y: Noise = 0.0,
    ) -> None:
        check_ranges(self, top=top, left=left, height=height, width=width)
        _, rows, columns = shape
        mask = torch.ones(rows, columns)
        up, down = round(top * rows), round((top + height) * rows)
        mask[up:down, round(left * columns) : round((left + width) * columns)] = 0
        super().__init__(shape, mask, sigma_y)


@MODELS.register_module()
class RandomInpainting(Inpainting):
    """Images with pixels missing here and there.

    Args:
        shape: Channels, height and width of the images.
        hidden: The share that is missing.
        seed: Draws which.
        sigma_y: See :class:`Operator`.
    """

    name = 'random'
    arguments = (
        Argument('hidden', 0.7, 0.0, 0.99, 'share of the pixels that are missing'),
        Argument('seed', 0, 0, 2**32 - 1, 'draws which'),
        SIGMA_Y,
    )

    def __init__(
        self, shape: Shape, hidden: float = 0.7, seed: int = 0, sigma_y: Noise = 0.0
    ) -> None:
        check_ranges(self, hidden=hidden, seed=seed)
        drawn = torch.rand(shape[1:], generator=torch.Generator().manual_seed(seed))
        super().__init__(shape, drawn >= hidden, sigma_y)
