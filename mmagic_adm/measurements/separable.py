"""Operators that are a matrix on the channels, one on the rows and one on the columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from mmagic_adm.arguments import Argument, check_ranges
from mmagic_adm.measurements.operator import (
    LEAST_SINGULAR_VALUE,
    SIGMA_Y,
    Noise,
    Operator,
    Shape,
)
from mmagic_adm.registry import MODELS

Kernel = Literal['box', 'bicubic']


class Separable(Operator):
    """A = C ⊗ R ⊗ W, whose singular values are the products of those of the three.

    Args:
        shape: Channels, height and width of the images.
        channels: C, (channels out, channels in).
        rows: R, (height out, height in).
        columns: W, (width out, width in).
        sigma_y: See :class:`Operator`.
    """

    def __init__(
        self,
        shape: Shape,
        channels: Tensor | None = None,
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        sigma_y: Noise = 0.0,
    ) -> None:
        super().__init__(shape, sigma_y)
        self.bound = 1.0
        for name, size, given in zip('crw', shape, (channels, rows, columns), strict=True):
            matrix = torch.eye(size) if given is None else given
            matrix = matrix.double()
            _, s, v_transposed = torch.linalg.svd(matrix)
            spectrum = torch.zeros(size, dtype=torch.float64)
            spectrum[: len(s)] = s
            self.register_buffer(f'matrix_{name}', matrix[None])
            self.register_buffer(f'basis_{name}', v_transposed[None])
            self.register_buffer(f'spectrum_{name}', spectrum[None])
            self.bound *= matrix.abs().sum(dim=1).max().item()

    def forward(self, x: Tensor) -> Tensor:
        """A x."""
        return _apply(x, *(self.get_buffer(f'matrix_{name}') for name in 'crw'))

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y."""
        return _apply(y, *(self.get_buffer(f'matrix_{name}').mT for name in 'crw'))

    def weigh(self, x: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
        """V f(s) Vᵀ x."""
        bases = [self.get_buffer(f'basis_{name}') for name in 'crw']
        c, r, w = (self.get_buffer(f'spectrum_{name}') for name in 'crw')
        s = c[:, :, None, None] * r[:, None, :, None] * w[:, None, None, :]
        s = torch.where(s < LEAST_SINGULAR_VALUE, 0, s)
        turned = _apply(x, *bases) * weight(s).to(x.dtype)
        return _apply(turned, *(basis.mT for basis in bases))


def _apply(x: Tensor, channels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Three matrices, (N, out, in) or (1, out, in), on the axes of (N, C, H, W)."""
    x = rows.to(x.dtype)[:, None] @ x @ columns.to(x.dtype)[:, None].mT
    return (channels.to(x.dtype) @ x.flatten(2)).unflatten(2, x.shape[2:])


@MODELS.register_module()
class Downsampling(Separable):
    """Small images of large ones.

    Args:
        shape: Channels, height and width of the large images.
        factor: How many times smaller they are.
        kernel: 'box', means over squares; or 'bicubic', as image programs make them smaller.
        sigma_y: See :class:`Operator`.
    """

    name = 'downsampling'
    arguments = (Argument('factor', 4, 2, 32, 'how many times smaller the images are'), SIGMA_Y)

    def __init__(
        self, shape: Shape, factor: int = 4, kernel: Kernel = 'box', sigma_y: Noise = 0.0
    ) -> None:
        check_ranges(self, factor=factor)
        if kernel not in get_args(Kernel):
            raise ValueError(f'kernel is {" or ".join(get_args(Kernel))}, not {kernel!r}')
        if shape[1] % factor or shape[2] % factor:
            raise ValueError(f'images of {shape[1]}x{shape[2]} cannot be {factor} times smaller')
        reach, weight = (0.5, _box) if kernel == 'box' else (2.0, _bicubic)
        rows, columns = (_filter(size, factor, reach * factor, weight) for size in shape[1:])
        super().__init__(shape, rows=rows, columns=columns, sigma_y=sigma_y)


@MODELS.register_module()
class GaussianBlur(Separable):
    """Blurred images, mirrored at their borders.

    Args:
        shape: Channels, height and width of the images.
        sigma: Width of the blur, in pixels.
        sigma_y: See :class:`Operator`.
    """

    name = 'gaussian-blur'
    arguments = (Argument('sigma', 3.0, 0.1, 50.0, 'width of the blur in pixels'), SIGMA_Y)

    def __init__(self, shape: Shape, sigma: float = 3.0, sigma_y: Noise = 0.0) -> None:
        check_ranges(self, sigma=sigma)

        def weight(distance: Tensor) -> Tensor:
            return torch.exp(-(distance**2) / 2)

        rows, columns = (_filter(size, 1, 4 * sigma, weight, sigma) for size in shape[1:])
        super().__init__(shape, rows=rows, columns=columns, sigma_y=sigma_y)


@MODELS.register_module()
class Greyscale(Separable):
    """Grey images of coloured ones.

    Args:
        shape: Channels, height and width of the images.
        weights: What each channel adds.
        sigma_y: See :class:`Operator`.
    """

    name = 'greyscale'

    def __init__(
        self,
        shape: Shape,
        weights: Sequence[float] = (0.299, 0.587, 0.114),
        sigma_y: Noise = 0.0,
    ) -> None:
        if len(weights) != shape[0]:
            raise ValueError(f'{len(weights)} weights were given for images of {shape[0]} channels')
        super().__init__(shape, channels=torch.tensor([list(weights)]), sigma_y=sigma_y)


def _box(distance: Tensor) -> Tensor:
    return (distance.abs() < 0.5).double()


def _bicubic(distance: Tensor, a: float = -0.5) -> Tensor:
    """Keys' kernel; with a = -1/2, which image programs take where they reduce."""
    d = distance.abs()
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0))


def _filter(
    size: int,
    factor: int,
    reach: float,
    weight: Callable[[Tensor], Tensor],
    width: float | None = None,
) -> Tensor:
    """The matrix of a filter that keeps every so many pixels, (size / factor, size).

    Args:
        size: Pixels in.
        factor: Pixels in for a pixel out.
        reach: How far the filter reaches, in pixels.
        weight: Its weight at a distance from its middle, measured in ``width``.
        width: In pixels; None is the factor.
    """
    margin = math.ceil(reach)
    places = torch.arange(-margin, size + margin)
    middles = (torch.arange(size // factor) + 0.5) * factor - 0.5
    weights = weight((places - middles[:, None]).double() / (width or factor))
    weights = weights / weights.sum(dim=1, keepdim=True)
    # Pixels beyond a border are those within, mirrored, as often as need be.
    folded = places.remainder(2 * size)
    folded = torch.where(folded < size, folded, 2 * size - 1 - folded)
    return torch.zeros(size // factor, size, dtype=torch.float64).index_add(1, folded, weights)
