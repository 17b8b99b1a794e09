"""Operators that others wrote: functions, and the physics of deepinv."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mmagic_adm.measurements.operator import Ability, Noise, Operator, Shape


class FunctionOperator(Operator):
    """A function of images, whose adjoint is had by autograd.

    Args:
        shape: Channels, height and width of the images.
        function: Maps images, (N, C, H, W) in [-1, 1], to what is measured, (N, ...).
        is_linear: Whether it is linear; else methods that need an adjoint are refused.
        sigma_y: See :class:`Operator`.
    """

    def __init__(
        self,
        shape: Shape,
        function: Callable[[Tensor], Tensor],
        is_linear: bool = True,
        sigma_y: Noise = 0.0,
    ) -> None:
        super().__init__(shape, sigma_y)
        self.function = function
        self.abilities = frozenset({Ability.ADJOINT} if is_linear else ())

    def forward(self, x: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(x)


@runtime_checkable
class Physics(Protocol):
    """What deepinv's linear operators have, and is enough to be taken for one."""

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """The measurement of images in [0, 1], without its noise."""

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        """The adjoint."""

    def A_dagger(self, y: Tensor, **kwargs: Any) -> Tensor:
        """The pseudo-inverse."""


class PhysicsOperator(Operator):
    """An operator of deepinv, whose images are in [0, 1].

    As it is linear, A((x + 1) / 2) = (A x + A 1) / 2: ``taken`` turns what it measured into what
    it would measure of images in [-1, 1], whose noise is twice as large.

    Args:
        shape: Channels, height and width of the images.
        physics: The operator.
        sigma_y: Standard deviation of the noise in its own measurements; None asks its noise model.
    """

    name = 'deepinv'
    abilities = frozenset({Ability.ADJOINT, Ability.INVERSE})

    def __init__(self, shape: Shape, physics: Physics, sigma_y: Noise | None = None) -> None:
        if sigma_y is None:
            model = getattr(physics, 'noise_model', None)
            sigma_y = torch.as_tensor(getattr(model, 'sigma', 0.0))
        super().__init__(shape, 2 * torch.as_tensor(sigma_y))
        self.physics = physics

    def forward(self, x: Tensor) -> Tensor:
        """A x, in the type of the physics' own tensors."""
        return self.physics.A(x.float()).to(x.dtype)

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y."""
        return self.physics.A_adjoint(y.float()).to(y.dtype)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """A⁺ y."""
        return self.physics.A_dagger(y.float()).to(y.dtype)

    def taken(self, y: Tensor) -> Tensor:
        """2 y - A 1."""
        return 2 * y - self(y.new_ones(1, *self.shape))

    def moved(self, device: torch.device) -> Operator:
        """The operator on another device, and the physics too."""
        if isinstance(self.physics, nn.Module):
            self.physics.to(device)
        return super().moved(device)
