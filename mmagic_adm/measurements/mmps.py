"""Moment matching posterior sampling: the image that is likely given x_t and y."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from mmagic_adm.arguments import Argument, check_ranges
from mmagic_adm.guidance.base import Batch
from mmagic_adm.measurements.operator import Ability
from mmagic_adm.measurements.restoration import Restoration, Seen
from mmagic_adm.measurements.solvers import conjugate_gradients, gmres
from mmagic_adm.registry import MODELS

Solver = Literal['gmres', 'cg']


@MODELS.register_module()
class MMPS(Restoration):
    """E[x_0 | x_t, y], as if x_0 given x_t were normal (https://arxiv.org/abs/2405.13712).

    A step costs one call of the network, and one way back through it for each iteration.

    Args:
        iterations: Of the solver.
        solver: 'gmres' for any Jacobian; 'cg' where it is symmetric, as that of a denoiser without
            fault is.
    """

    name = 'mmps'
    needs = frozenset({Ability.ADJOINT})
    arguments = (Argument('iterations', 3, 1, 50, 'iterations of the solver'),)

    def __init__(self, iterations: int = 3, solver: Solver = 'gmres') -> None:
        check_ranges(self, iterations=iterations)
        if solver not in get_args(Solver):
            raise ValueError(f'solver is {" or ".join(get_args(Solver))}, not {solver!r}')
        super().__init__()
        self.iterations = iterations
        self.solve = gmres if solver == 'gmres' else conjugate_gradients

    def image(self, seen: Seen, batch: Batch) -> Tensor:
        """x_0 + C Aᵀ (σ_y² + A C Aᵀ)⁻¹ (y - A x_0), C being the covariance of x_0."""
        operator = self.given.operator

        def product(v: Tensor) -> tuple[Tensor, Tensor]:
            moved = seen.covariance(operator.adjoint(v)).double()
            return operator.noise**2 * v + operator(moved), moved

        return seen.x_0 + self.solve(
            product, self.given.residual(seen.x_0.double()), self.iterations
        )
