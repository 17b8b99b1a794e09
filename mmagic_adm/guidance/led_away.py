"""A denoiser led away from something worse: what guidance that asks twice has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.denoisers import Denoiser, WrappedDenoiser
from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.guidance.base import Batch

Rows = slice | Tensor
"""Which samples are guided."""


class LedAway(WrappedDenoiser):
    """D + s (D - worse) for the samples that are guided, with the variance of D.

    Args:
        inner: D. Where guidance is skipped, it is called as if nothing were around it.
        batch: The samples.
        channels: How many channels are led away, from the first on; None is all.
    """

    def __init__(self, inner: Denoiser, batch: Batch, channels: int | None = None) -> None:
        super().__init__(inner)
        self.batch, self.channels = batch, channels

    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """What D says, led away."""
        factor, rows = self.batch.factor(level), self.batch.rows
        if factor == 0:
            return self.inner.predict(x_t, level, inputs)
        by: Any = factor * self.batch.scales
        if rows is not None:
            by = by[rows]
        if self.channels is not None:
            place = torch.arange(x_t.shape[1], device=x_t.device).view(1, -1, 1, 1)
            by = by * (place < self.channels)
        said, worse = self.ask(x_t, level, inputs, slice(None) if rows is None else rows)
        return said.away_from(worse, by, rows)

    @abstractmethod
    def ask(
        self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor], rows: Rows
    ) -> tuple[Prediction, Prediction]:
        """What D says about the samples, and the worse about those that are guided."""

    def ask_twice(
        self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor], rows: Rows, **other: Any
    ) -> tuple[Prediction, Prediction]:
        """What D says, in one call, about the samples, and of the guided ones for other inputs."""
        again = {**at(rows, inputs), **other}
        both = {name: torch.cat([value, again[name]]) for name, value in inputs.items()}
        x = torch.cat([x_t, x_t[rows]])
        return self.inner.predict(x, level.joined(rows), both).split(len(x_t))


def at(rows: Rows, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs of some samples."""
    return {name: value[rows] for name, value in inputs.items()}
