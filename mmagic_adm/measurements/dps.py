"""Diffusion posterior sampling: down the distance between what is seen and what is measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmagic_adm.arguments import Argument, check_ranges
from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance.base import Batch, Draw, Form
from mmagic_adm.measurements.restoration import Restoration, Seen
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class DPS(Restoration):
    """x_{t-1} ← x_{t-1} - scale ∇ |y - A(x_0)| (https://arxiv.org/abs/2209.14687, algorithm 1).

    Takes any operator that can be differentiated. The norm is each sample's own.

    Args:
        scale: Length of the push, if A and the denoiser leave lengths as they are.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    name = 'dps'
    forms = frozenset({Form.IMAGE, Form.LANDING})
    scheduler = dict(type='DDPMScheduler')
    arguments = (Argument('scale', 0.5, 0.0, 20.0, 'how far each step is pushed'),)

    def __init__(self, scale: float = 0.5, **pace: Any) -> None:
        check_ranges(self, scale=scale)
        super().__init__(scale, **pace)

    def image(self, seen: Seen, batch: Batch) -> None:
        """Notes the gradient at x_t for the end of the step."""
        factor = batch.factor(seen.level)
        batch.memory['push'] = 0.0
        if factor == 0:
            return
        with torch.inference_mode(False), torch.enable_grad():
            x_0 = seen.x_0.clone().requires_grad_()
            norms = self.given.residual(x_0).flatten(1).norm(dim=1)
            (gradient,) = torch.autograd.grad(norms.sum(), x_0)
        batch.memory['push'] = factor * batch.scales * seen.pull(gradient)

    def land(self, x: Tensor, level: NoiseLevel, draw: Draw, batch: Batch) -> Tensor:
        """The end of the step, pushed."""
        return x - batch.memory['push']
