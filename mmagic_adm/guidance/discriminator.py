"""Guidance towards what a discriminator takes for real, and away from what it takes for made."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.guidance.base import Batch, Moment, Need
from mmagic_adm.guidance.classifier import ClassifierSource
from mmagic_adm.registry import MODELS

# The log of the odds at a probability of 1e-5 from either end; beyond, there is no gradient.
MOST = math.log((1 - 1e-5) / 1e-5)


@MODELS.register_module()
class DiscriminatorGuidance(ClassifierSource):
    """Gradient of log p(real | x_t) / p(made | x_t) (Kim et al. 2023, eq. 8).

    What a diffusion model makes differs from its data; the gradient is that of the difference, as
    far as the discriminator knows it.

    Args:
        discriminator: Maps (x_t, t), and labels if it has ``num_classes``, to logits of made and
            real. A config is built, and its weights are this module's; a module or function that
            is handed over stays its owner's, who moves and loads it.
        scale: Factor on the gradient.
        weights: Path or URL of the weights of a discriminator that is given as a config.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'discriminator'
    requires = frozenset({Need.PARTS})

    def __init__(
        self, discriminator: Any, scale: float = 1.0, weights: str | None = None, **pace: Any
    ) -> None:
        super().__init__(discriminator, scale, weights, **pace)

    @property
    def num_classes(self) -> int | None:
        """The classes of which the discriminator is told."""
        return getattr(self.classifier, 'num_classes', None)

    def score(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """The log of the odds that each sample is real."""
        told = {} if self.num_classes is None else dict(labels=self.known(labels))
        made, real = self.classifier(x, t, **told).float().unbind(1)
        return (real - made).clamp(-MOST, MOST)

    @torch.no_grad()
    def doubts(self, moment: Moment, batch: Batch) -> Tensor:
        """Which samples it takes for made ones, (N,); none where it is skipped."""
        x_t, level, _ = moment
        if batch.factor(level) == 0:
            return torch.zeros(len(x_t), dtype=torch.bool, device=x_t.device)
        return self.score(x_t, batch.timesteps(level, x_t), batch.labels) < 0
