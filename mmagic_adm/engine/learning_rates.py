"""Learning rates beside those that MMEngine has."""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim import _ParamScheduler

from mmagic_adm.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class InverseSqrtLR(_ParamScheduler):
    """Falls with the square root of time, from some time on (EDM2, eq. 67).

    Args:
        optimizer: The optimiser, or its wrapper.
        flat: Iterations before it begins to fall.
        **kwargs: As of MMEngine's schedulers, such as ``by_epoch``.
    """

    def __init__(self, optimizer: Any, *args: Any, flat: float, **kwargs: Any) -> None:
        if flat <= 0:
            raise ValueError(f'flat is a number of iterations above 0, not {flat}')
        self.flat = flat
        super().__init__(optimizer, 'lr', *args, **kwargs)

    def _get_value(self) -> list[float]:
        """The values of the parameter groups, from those before."""
        if self.last_step == 0:
            return [group['lr'] for group in self.optimizer.param_groups]
        fall = self._factor(self.last_step) / self._factor(self.last_step - 1)
        return [group['lr'] * fall for group in self.optimizer.param_groups]

    def _factor(self, step: int) -> float:
        return 1 / math.sqrt(max(step / self.flat, 1))
