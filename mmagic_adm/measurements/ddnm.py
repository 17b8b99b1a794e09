"""Denoising diffusion null-space models: what is measured is put in, the rest is invented."""

from __future__ import annotations

import torch
from torch import Tensor

from mmagic_adm.guidance.base import Batch, Form, Mixture
from mmagic_adm.measurements.operator import Ability
from mmagic_adm.measurements.restoration import Restoration, Seen
from mmagic_adm.registry import MODELS

SCHEDULER = dict(type='DDNMScheduler')


@MODELS.register_module()
class DDNM(Restoration):
    """Puts the measurement into each predicted image (https://arxiv.org/abs/2212.00490, eq. 13).

    The noise of a measurement goes into the image; see :class:`DDNMPlus`.
    """

    name = 'ddnm'
    needs = frozenset({Ability.INVERSE})
    differentiates = False
    scheduler = SCHEDULER

    def image(self, seen: Seen, batch: Batch) -> Tensor:
        """x_0 - A⁺ (A x_0 - y)."""
        return self.given.project(seen.x_0)


@MODELS.register_module()
class DDNMPlus(Restoration):
    """DDNM for measurements with noise, which counts as part of a step's own (the same, eq. 17-19).

    Settled in the directions of the operator's singular vectors: V diag(·) Vᵀ.
    """

    name = 'ddnm+'
    forms = frozenset({Form.MIXTURE})
    needs = frozenset({Ability.INVERSE, Ability.SPECTRUM})
    differentiates = False
    scheduler = SCHEDULER

    def mix(self, mixture: Mixture, batch: Batch) -> Tensor:
        """The sample at the next level, of the image, its own noise and fresh noise."""
        operator, (x_0, _, z, there, fresh, kept) = self.given.operator, mixture
        sigma_y, noise = operator.noise.to(x_0.device), there.noise

        def least(s: Tensor) -> Tensor:
            # The noise of y in this direction of the next sample.
            return there.signal * sigma_y / s

        def correction(s: Tensor) -> Tensor:
            enough = least(s) <= noise
            return torch.where(s > 0, torch.where(enough, 1.0, kept / least(s)), 0.0)

        def fresh_noise(s: Tensor) -> Tensor:
            left = (noise**2 - least(s) ** 2).clamp(min=0).sqrt()
            return torch.where(s > 0, torch.where(least(s) <= noise, left, fresh), 0.0)

        lacking = operator.pseudo_inverse(self.given.residual(x_0))
        measured = there.signal * (x_0 + operator.weigh(lacking, correction))
        measured = operator.weigh(measured, _is_measured) + operator.weigh(z, fresh_noise)
        free = mixture.plain()
        return free - operator.weigh(free, _is_measured) + measured


def _is_measured(s: Tensor) -> Tensor:
    return (s > 0).to(s.dtype)
