"""How much signal and how much noise there is, and how one part of a sample follows from others."""

from dataclasses import dataclass
from typing import Any

import torch

from mmagic_adm.diffusion.tables import Coefficient


@dataclass(frozen=True)
class NoiseLevel:
    """A point on the way from image to noise: x_t = signal · x_0 + noise · eps (DDPM, eq. 4).

    In a discrete process the squares of the two add up to 1, and the signal's is the paper's
    alpha_bar; in EDM the signal is 1 and the noise its sigma. Both name the same coordinate.

    Args:
        signal: Factor on the image: a number, or a tensor that broadcasts over a batch of images.
        noise: Factor on the noise.
        timestep: The timestep of a discrete process that this is, as training counts them, whole
            or not; None where it is none.
    """

    signal: Coefficient
    noise: Coefficient
    timestep: float | torch.Tensor | None = None

    @property
    def sigma(self) -> Coefficient:
        """Noise in units of the signal, as EDM measures it: that of x_t / signal."""
        return self.noise / self.signal

    @property
    def scale(self) -> Coefficient:
        """The standard deviation of x_t, if that of the images is 1."""
        return (self.signal**2 + self.noise**2) ** 0.5

    @property
    def alpha_bar(self) -> Coefficient:
        """The share of the signal in the variance."""
        return self.signal**2 / (self.signal**2 + self.noise**2)

    @property
    def name(self) -> str:
        """What to call it in a message, and under a picture."""
        what, value = ('sigma', self.sigma) if self.timestep is None else ('t', self.timestep)
        if isinstance(value, torch.Tensor) and value.ndim > 0:
            return f'a {what} for each sample'  # not read off a GPU, which would be waited for
        if self.timestep is not None:
            return f'{what}={value:g}'
        return f'{what}={value:.3g}' if value >= 1 else f'{what}={value:.2g}'

    def unit(self) -> 'NoiseLevel':
        """The same level of x_t / scale, whose variance is 1."""
        if isinstance(self.scale, float) and abs(self.scale - 1) < 1e-12:
            return self
        return NoiseLevel(self.signal / self.scale, self.noise / self.scale, self.timestep)

    def joined(self, rows: torch.Tensor | slice) -> 'NoiseLevel':
        """That of a batch and of some of its samples again, where each has a level of its own."""

        def again(part: Any) -> Any:
            is_of_each = isinstance(part, torch.Tensor) and part.numel() > 1
            return torch.cat([part, part[rows]]) if is_of_each else part

        return NoiseLevel(again(self.signal), again(self.noise), again(self.timestep))

    def to_unit(self, x_t: torch.Tensor) -> torch.Tensor:
        """x_t / scale."""
        return x_t if self.unit() is self else x_t / self.scale

    def mix(self, x_0: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """x_t, from its parts."""
        return self.signal * x_0 + self.noise * eps

    def x_0(self, x_t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """The signal that is left when the noise is taken out of x_t."""
        return (x_t - self.noise * eps) / self.signal

    def eps(self, x_t: torch.Tensor, x_0: torch.Tensor) -> torch.Tensor:
        """The noise that is left when the signal is taken out of x_t."""
        return (x_t - self.signal * x_0) / self.noise


CLEAN = NoiseLevel(signal=1.0, noise=0.0)
PURE_NOISE = NoiseLevel(signal=0.0, noise=1.0)


def edm_sigma(share: Any, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Any:
    """The noise level after a share of the way down from sigma_max to sigma_min (EDM, eq. 5).

    Args:
        share: From 0 to 1: a number, or a tensor of them.
        sigma_min: The last noise level.
        sigma_max: The first noise level.
        rho: How much denser the levels lie at the end.
    """
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return (first + share * (last - first)) ** rho
