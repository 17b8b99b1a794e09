"""What a denoiser is, and what one around another is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.diffusion import NoiseLevel, Prediction


class Denoiser(ABC):
    """Answers one question: given x_t at a level, which image is in it.

    What else the network is given, such as labels, is fixed: ``inputs``, one row for each sample.
    """

    network: Any
    inputs: Mapping[str, Tensor]

    def __call__(self, x_t: Tensor, level: NoiseLevel) -> Prediction:
        """Which image, and which noise, is in x_t.

        Args:
            x_t: Noisy images, ``level.signal`` times an image and ``level.noise`` times noise,
                (N, C, H, W).
            level: How much there is of both.
        """
        return self.predict(x_t, level, self.inputs)

    @abstractmethod
    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """The same for other inputs, or for other numbers of samples."""

    @abstractmethod
    def of(self, network: Any) -> Denoiser:
        """The denoiser of another network, which is told of noise like this one's."""


class WrappedDenoiser(Denoiser):
    """A denoiser around another; subclasses say what they change.

    Args:
        inner: The other one.
    """

    def __init__(self, inner: Denoiser) -> None:
        self.inner = inner
        self.network = inner.network
        self.inputs = inner.inputs

    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """What the other says."""
        return self.inner.predict(x_t, level, inputs)

    def of(self, network: Any) -> Denoiser:
        """The denoiser of another network, not wrapped."""
        return self.inner.of(network)


class ClippedDenoiser(WrappedDenoiser):
    """Keeps images within [-1, 1], and leaves the noise as the network has it."""

    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """What the other says, clipped."""
        return self.inner.predict(x_t, level, inputs).clipped()


def told_to_all(value: float | Tensor, x: Tensor) -> Tensor:
    """A number for each sample: one expanded, by which networks see that their samples share it."""
    if isinstance(value, Tensor):
        return value.reshape(-1).expand(len(x))
    # Filled on the device: nothing is copied there, and nobody waits.
    dtype = torch.int64 if isinstance(value, int) else torch.float32
    return torch.full((1,), value, dtype=dtype, device=x.device).expand(len(x))
