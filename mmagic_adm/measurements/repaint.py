"""RePaint: what is known is put back into the noisy sample."""

from __future__ import annotations

from torch import Tensor

from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance.base import Batch, Draw, Form
from mmagic_adm.measurements.operator import Ability
from mmagic_adm.measurements.restoration import Restoration
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class RePaint(Restoration):
    """Known parts, as noisy as the sample is, replace its own (https://arxiv.org/abs/2201.09865).

    Under RePaintScheduler, which jumps back, this is algorithm 1 of the paper; under others it is
    plain replacement.
    """

    name = 'repaint'
    forms = frozenset({Form.LANDING})
    needs = frozenset({Ability.ADJOINT, Ability.INVERSE})
    differentiates = False
    scheduler = dict(type='RePaintScheduler')

    def land(self, x: Tensor, level: NoiseLevel, draw: Draw, batch: Batch) -> Tensor:
        """M x_known + (1 - m) x_unknown (eq. 8c)."""
        if level.noise == 0:
            return x
        operator, y = self.given.operator, self.given.y.to(x.dtype)
        # x_known ~ N(√ᾱ x_0, 1 - ᾱ) (eq. 8a)
        known = level.mix(operator.pseudo_inverse(y), draw(x))
        return operator.project(x, operator(known))
