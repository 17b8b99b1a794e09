"""Tweedie moment projected diffusions: moment matching without a solver."""

from __future__ import annotations

import torch
from torch import Tensor

from mmagic_adm.guidance.base import Batch
from mmagic_adm.measurements.operator import Ability
from mmagic_adm.measurements.restoration import Restoration, Seen
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class TMPD(Restoration):
    """As MMPS, with A C Aᵀ taken for diagonal (https://arxiv.org/abs/2310.06721, eq. 9).

    A step costs one call of the network, and two ways back through it.
    """

    name = 'tmpd'
    needs = frozenset({Ability.ADJOINT})

    def image(self, seen: Seen, batch: Batch) -> Tensor:
        """x_0 + C Aᵀ (y - A x_0) / (σ_y² + A C Aᵀ 1)."""
        operator, residual = self.given.operator, self.given.residual(seen.x_0)
        rows = operator(seen.covariance(operator.adjoint(torch.ones_like(residual))))
        # That they are variances is an approximation: of correlated pixels they may be negative.
        variance = operator.noise.to(rows.dtype) ** 2 + rows.abs()
        scaled = torch.where(variance > 0, residual / variance, 0)
        return seen.x_0 + seen.covariance(operator.adjoint(scaled))
