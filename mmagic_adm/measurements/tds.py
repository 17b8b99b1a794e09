"""The twisted diffusion sampler: sets of samples, of which the likely ones go on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmagic_adm.arguments import Argument, check_ranges
from mmagic_adm.guidance.base import Batch, Form, StochasticStep
from mmagic_adm.measurements.operator import Ability
from mmagic_adm.measurements.restoration import Restoration, Seen
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class TDS(Restoration):
    """Sequential Monte Carlo with a twist (https://arxiv.org/abs/2306.17775, algorithm 1).

    A batch is made of sets; the samples of one are weighed against each other and of no other.
    The twist is N(y; A x_0, σ_y² + σ²/α²).

    Args:
        particles: Samples in a set.
    """

    name = 'tds'
    forms = frozenset({Form.IMAGE, Form.STEP})
    needs = frozenset({Ability.ADJOINT})
    scheduler = dict(type='DDPMScheduler')
    arguments = (Argument('particles', 8, 2, 1024, 'samples that are drawn together'),)

    def __init__(self, particles: int = 8) -> None:
        check_ranges(self, particles=particles)
        super().__init__()
        self.particles = particles

    def image(self, seen: Seen, batch: Batch) -> None:
        """Notes log p(y | x_0) of each, and σ²/α times its gradient at x_t."""
        operator, residual = self.given.operator, self.given.residual(seen.x_0)
        variance = operator.noise.to(residual.dtype) ** 2 + seen.level.sigma**2
        batch.memory['log_twist'] = -(residual**2 / variance).flatten(1).sum(dim=1) / 2
        batch.memory['shift'] = seen.covariance(operator.adjoint(residual / variance))

    def settle(self, step: StochasticStep, batch: Batch) -> Tensor:
        """Draws who goes on, and proposes where to."""
        memory, log_twist = batch.memory, batch.memory['log_twist']
        log_weights = log_twist + memory.get('log_weights', 0.0)
        uniform = _uniform(step.draw(step.mean[:, :1, :1, :1]).flatten()[:: self.particles])
        ancestors = resample(log_weights.view(-1, self.particles).softmax(dim=1), uniform)
        mean, variance = step.mean[ancestors], step.variance[ancestors]
        guided = mean + step.image_share * memory['shift'][ancestors]
        # In the last step there is no noise, and nobody weighs what it leads to.
        z = torch.where(step.variance > 0, step.noise / step.variance.sqrt(), 0.0)
        x = guided + variance.sqrt() * z
        unguided = (x - mean) ** 2 / variance
        memory['log_weights'] = (z**2 - unguided).flatten(1).sum(dim=1) / 2 - log_twist[ancestors]
        return x


def resample(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The rows that go on, each expected as often as its probability says (systematic).

    Args:
        probabilities: Of the samples of each set, (sets, particles).
        uniform: A number from 0 to 1 for each set.
    """
    sets, count = probabilities.shape
    teeth = (torch.arange(count, device=uniform.device) + uniform[:, None]) / count
    chosen = torch.searchsorted(probabilities.cumsum(dim=1), teeth.to(probabilities.dtype))
    first = torch.arange(sets, device=uniform.device)[:, None] * count
    return (chosen.clamp(max=count - 1) + first).flatten()


def _uniform(z: Tensor) -> Tensor:
    """Numbers evenly from 0 to 1, of normal ones."""
    return (1 + torch.erf(z / math.sqrt(2))) / 2
