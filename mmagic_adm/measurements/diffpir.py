"""DiffPIR: between the predicted image and the measurement, by what each is worth."""

from __future__ import annotations

import torch
from torch import Tensor

from mmagic_adm.arguments import Argument, check_ranges
from mmagic_adm.guidance.base import Batch
from mmagic_adm.measurements.operator import Ability
from mmagic_adm.measurements.restoration import Restoration, Seen
from mmagic_adm.measurements.solvers import conjugate_gradients
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class DiffPIR(Restoration):
    """Plug-and-play restoration (https://arxiv.org/abs/2305.08995, eq. 13).

    Args:
        lmbda: What the predicted image is worth.
        iterations: Of the solver, where the operator's singular values are not known; with them
            the solution is exact.
    """

    name = 'diffpir'
    needs = frozenset({Ability.ADJOINT})
    differentiates = False
    arguments = (
        Argument('lmbda', 7.0, 0.01, 100.0, 'what the predicted image is worth'),
        Argument('iterations', 5, 1, 50, 'iterations, where there are no singular values'),
    )

    def __init__(self, lmbda: float = 7.0, iterations: int = 5) -> None:
        check_ranges(self, lmbda=lmbda, iterations=iterations)
        super().__init__()
        self.lmbda = lmbda
        self.iterations = iterations

    def image(self, seen: Seen, batch: Batch) -> Tensor:
        """The least of |y - A x|² / σ_y² + λ α²/σ² |x - x_0|²."""
        operator, x_0 = self.given.operator, seen.x_0.double()
        right = operator.adjoint(self.given.residual(x_0))
        # Both sides are multiplied by σ_y², which may be 0.
        rho = self.lmbda / seen.level.sigma**2 * operator.noise**2
        if Ability.SPECTRUM in operator.abilities:

            def inverse(s: Tensor) -> Tensor:
                return torch.where(s**2 + rho > 0, 1 / (s**2 + rho), 0)

            return x_0 + operator.weigh(right, inverse)

        def product(v: Tensor) -> tuple[Tensor, Tensor]:
            return operator.adjoint(operator(v)) + rho * v, v

        return x_0 + conjugate_gradients(product, right, self.iterations)
