"""EDM's sampler as discriminator guidance has it: guided at first slopes, and boosted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance.base import Batch, Form, Guide, Moment
from mmagic_adm.guidance.discriminator import DiscriminatorGuidance
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, StepNoise, look
from mmagic_adm.schedulers.edm import EDMHeunScheduler

# Of what the discriminator doubts: how often it is churned, with how much, and how often its
# guidance counts twice.
CHURN_EVERY, CHURN, NOISE, TWICE_EVERY = 5, 4.0, 1.0, 2


@DIFFUSION_SCHEDULERS.register_module()
class BoostedHeunScheduler(EDMHeunScheduler):
    """EDM-G++ (Kim et al. 2023, https://arxiv.org/abs/2211.17091).

    A gradient is added to the slope that a step begins with, and not to its correction. With
    boosting, samples that a discriminator takes for made ones are guided twice as strongly in
    every second step, and get new noise in every fifth.

    Args:
        boosting: Whether samples that are taken for made ones are treated so.
        **edm: Arguments of :class:`EDMHeunScheduler`.
    """

    guided_by = frozenset({Form.GRADIENT})

    def __init__(self, boosting: bool = True, **edm: Any) -> None:
        super().__init__(**edm)
        if self.solver != 'heun':
            raise ValueError(f"BoostedHeunScheduler takes steps by 'heun', not by {self.solver!r}")
        self.boosting = boosting

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 2 of EDM with both; see `Scheduler.steps`."""
        guide, x_next, num_steps, sigmas = guidance, x.double(), len(self.levels), self._sigmas()
        discriminator = _discriminator(guide) if self.boosting and guide is not None else None
        doubted = torch.zeros(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
        for i in range(skip, num_steps):
            t_i, t_next, x_i = sigmas[i], sigmas[i + 1], x_next
            # t̂_i ← t_i + γ_i t_i;  x̂_i ← x_i + √(t̂_i² - t_i²) ε_i, ε_i ~ N(0, S_noise² I)
            t_hat: Any = self._raised(t_i)
            spread: Any = math.sqrt(t_hat**2 - t_i**2) * self.S_noise
            if discriminator is not None and i % CHURN_EVERY == 0:
                anew = self._raised(t_i, CHURN)
                t_hat = torch.where(doubted, anew, t_hat).double()
                spread = torch.where(doubted, math.sqrt(anew**2 - t_i**2) * NOISE, spread)
            x_hat = x_i
            if self.S_churn > 0 or discriminator is not None:
                x_hat = x_i + spread * draw(x_i)
            # d_i ← (x̂_i - D(x̂_i; t̂_i)) / t̂_i - t̂_i m ∇ log p / (1 - p), m = 1 / √(1 + t̂_i²)
            level = NoiseLevel(1.0, t_hat)
            x_0, d_i = look(denoiser, x_hat, level, None, self.clip_sample)
            if guide is not None:
                moment = Moment(level.to_unit(x_hat).float(), level, x_0.float())
                push = guide.push(moment, level.unit().noise)
                if discriminator is not None:
                    rule, batch = discriminator
                    doubted = rule.doubts(moment, batch).view(-1, 1, 1, 1)
                    push = push * (1 + doubted) if i % TWICE_EVERY == 0 else push
                d_i = d_i - push
            # x_{i+1} ← x̂_i + (t_{i+1} - t̂_i) d_i
            x_next = x_hat + (t_next - t_hat) * d_i
            if t_next > 0:
                # d'_i ← (x_{i+1} - D(x_{i+1}; t_{i+1})) / t_{i+1}
                x_0, d_prime = self._image_and_slope(denoiser, x_next, t_next, None)
                # x_{i+1} ← x̂_i + (t_{i+1} - t̂_i) (½ d_i + ½ d'_i)
                x_next = x_hat + (t_next - t_hat) * (d_i + d_prime) / 2
            yield x_next, x_0


def _discriminator(guide: Guide) -> tuple[DiscriminatorGuidance, Batch]:
    """The discriminator in guidance, with its batch."""
    for part in guide.batch.parts or (guide,):
        if isinstance(part.guidance, DiscriminatorGuidance):
            return part.guidance, part.batch
    raise ValueError(
        'BoostedHeunScheduler boosts what a DiscriminatorGuidance doubts, and '
        f'{type(guide.guidance).__name__} is none: give it one, or boosting=False'
    )
