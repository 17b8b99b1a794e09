"""Pseudo-inverse guidance: steps are pushed along what the pseudo-inverse says is missing."""

from __future__ import annotations

import torch
from torch import Tensor

from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance.base import Batch, Draw, Form
from mmagic_adm.measurements.operator import Ability
from mmagic_adm.measurements.restoration import Restoration, Seen
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class PiGDM(Restoration):
    """ΠGDM (Song et al. 2023, https://openreview.net/forum?id=9_gsMA8MRKQ, algorithm 1).

    Where y has noise, A⁺ is damped by it (eq. 8), if the operator's singular values are known.
    """

    name = 'pigdm'
    forms = frozenset({Form.IMAGE, Form.LANDING})
    needs = frozenset({Ability.INVERSE})
    scheduler = dict(type='DDIMScheduler', eta=1.0)

    def image(self, seen: Seen, batch: Batch) -> None:
        """Notes α Jᵀ A⁺ (y - A x_0) for the end of the step."""
        missing = self._missing(seen.x_0, seen.level)
        batch.memory['push'] = seen.level.signal * seen.pull(missing)

    def land(self, x: Tensor, level: NoiseLevel, draw: Draw, batch: Batch) -> Tensor:
        """The end of the step, pushed."""
        return x + level.signal * batch.memory['push']

    def _missing(self, x_0: Tensor, level: NoiseLevel) -> Tensor:
        """r² Aᵀ (r² A Aᵀ + σ_y²)⁻¹ (y - A x_0), with r² = σ² / (1 + σ²): A⁺ at σ_y = 0."""
        operator, residual = self.given.operator, self.given.residual(x_0)
        if Ability.SPECTRUM not in operator.abilities:
            return operator.pseudo_inverse(residual)
        spread = level.sigma**2 / (1 + level.sigma**2)

        def damped(s: Tensor) -> Tensor:
            return torch.where(s > 0, spread / (spread * s**2 + operator.noise**2), 0.0)

        return operator.weigh(operator.adjoint(residual.double()), damped).to(x_0.dtype)
