"""Operators that are products in Fourier space: blur by a kernel, and spectra with gaps."""

from __future__ import annotations

import math
from collections.abc import Callable

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


class Diagonal(Operator):
    """Base of operators whose Aᵀ A only weighs frequencies; images go on beyond their borders."""

    def spectrum(self) -> Tensor:
        """The singular value of every frequency, alike for a frequency and its negative."""
        raise NotImplementedError

    def weigh(self, x: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
        """V f(s) Vᵀ x, V being the Fourier transform."""
        s = self.spectrum()
        return _filtered(x, weight(torch.where(s < LEAST_SINGULAR_VALUE, 0, s)))


@MODELS.register_module()
class KernelBlur(Diagonal):
    """Images blurred by a kernel of one's own, as if they went round at their borders.

    Args:
        shape: Channels, height and width of the images.
        kernel: The weights, (h, w), or (N, h, w) with one for each sample.
        sigma_y: See :class:`Operator`.
    """

    name = 'kernel-blur'
    transfer: Tensor

    def __init__(self, shape: Shape, kernel: Tensor, sigma_y: Noise = 0.0) -> None:
        super().__init__(shape, sigma_y)
        kernel = torch.as_tensor(kernel).double()
        kernel = kernel[None] if kernel.ndim == 2 else kernel
        (height, width), (rows, columns) = kernel.shape[-2:], shape[1:]
        if kernel.ndim != 3 or height > rows or width > columns:
            raise ValueError(
                f'the kernel has shape {(*kernel.shape,)}; for images of {rows}x{columns} it is '
                '(h, w), or (N, h, w), and no larger than they are'
            )
        whole = kernel.new_zeros(len(kernel), rows, columns)
        whole[:, :height, :width] = kernel
        # Its middle belongs to the first pixel.
        whole = whole.roll((-(height // 2), -(width // 2)), dims=(1, 2))
        self.register_buffer('transfer', torch.fft.fft2(whole)[:, None])
        self.bound = kernel.abs().sum(dim=(1, 2)).max().item()

    def forward(self, x: Tensor) -> Tensor:
        """The convolution."""
        return _filtered(x, self.transfer)

    def adjoint(self, y: Tensor) -> Tensor:
        """The convolution with the kernel turned round."""
        return _filtered(y, self.transfer.conj())

    def spectrum(self) -> Tensor:
        """What is left of every frequency."""
        return self.transfer.abs()


@MODELS.register_module()
class MotionBlur(KernelBlur):
    """Images blurred along a line, as by a camera that moved.

    Args:
        shape: Channels, height and width of the images.
        length: Of the line, in pixels.
        angle: Of the line, in degrees; 0 is level.
        sigma_y: See :class:`Operator`.
    """

    name = 'motion-blur'
    arguments = (
        Argument('length', 9.0, 1.0, 200.0, 'how far the camera moved, in pixels'),
        Argument('angle', 45.0, -180.0, 180.0, 'in which direction, in degrees'),
        SIGMA_Y,
    )

    def __init__(
        self, shape: Shape, length: float = 9.0, angle: float = 45.0, sigma_y: Noise = 0.0
    ) -> None:
        check_ranges(self, length=length, angle=angle)
        half = math.ceil(length / 2)
        along = torch.linspace(-1, 1, 16 * half + 1, dtype=torch.float64) * (length - 1) / 2
        y = half - math.sin(math.radians(angle)) * along
        x = half + math.cos(math.radians(angle)) * along
        places = torch.arange(2 * half + 1)
        # A point between pixels counts for all four, by its distance.
        rows, columns = ((1 - (places - at[:, None]).abs()).clamp(min=0) for at in (y, x))
        kernel = rows.mT @ columns
        super().__init__(shape, kernel / kernel.sum(), sigma_y)


@MODELS.register_module()
class MaskedFourier(Diagonal):
    """Some columns of the spectrum, as a scanner measures it: the middle ones, and others.

    Args:
        shape: Channels, height and width of the images.
        kept: The share of the columns that is measured.
        middle: The share that is measured around frequency 0.
        seed: Draws which the others are.
        sigma_y: See :class:`Operator`.
    """

    name = 'masked-fourier'
    arguments = (
        Argument('kept', 0.25, 0.01, 1.0, 'share of the columns that is measured'),
        Argument('middle', 0.08, 0.0, 1.0, 'share that is measured around frequency 0'),
        Argument('seed', 0, 0, 2**32 - 1, 'draws which the others are'),
        SIGMA_Y,
    )
    mask: Tensor

    def __init__(
        self,
        shape: Shape,
        kept: float = 0.25,
        middle: float = 0.08,
        seed: int = 0,
        sigma_y: Noise = 0.0,
    ) -> None:
        check_ranges(self, kept=kept, middle=middle, seed=seed)
        super().__init__(shape, sigma_y)
        width = shape[2]
        # First those of the middle, then by lot.
        order = torch.rand(width, generator=torch.Generator().manual_seed(seed))
        distance = torch.fft.fftfreq(width).abs()
        order = order - (distance <= middle / 2).float()
        mask = torch.zeros(width, dtype=torch.float64)
        mask[order.argsort()[: max(1, round(kept * width))]] = 1
        self.register_buffer('mask', mask.view(1, 1, 1, -1))
        self.bound = math.sqrt(shape[1] * width)

    def forward(self, x: Tensor) -> Tensor:
        """The spectrum's real and imaginary parts, (N, 2 C, H, W), 0 where it has gaps."""
        spectrum = torch.fft.fft2(x, norm='ortho') * self.mask.to(x.dtype)
        return torch.cat([spectrum.real, spectrum.imag], dim=1)

    def adjoint(self, y: Tensor) -> Tensor:
        """The image of such a spectrum."""
        spectrum = torch.complex(*y.chunk(2, dim=1)) * self.mask.to(y.dtype)
        return torch.fft.ifft2(spectrum, norm='ortho').real

    def spectrum(self) -> Tensor:
        """A frequency and its negative say the same about an image; one may be missing."""
        negative = self.mask.flip(3).roll(1, 3)
        return ((self.mask + negative) / 2).sqrt()


def _filtered(x: Tensor, transfer: Tensor) -> Tensor:
    return torch.fft.ifft2(torch.fft.fft2(x) * transfer).real.to(x.dtype)
