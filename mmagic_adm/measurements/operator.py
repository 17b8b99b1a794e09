"""What a measurement is, y = A(x) + sigma_y · noise, and what is asked of an operator A."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmagic_adm.arguments import Argument

Rows = Sequence[int] | Tensor
Shape = tuple[int, int, int]
Noise = float | Sequence[float] | Tensor

# Singular values below this count as 0: what they kept of an image is lost in rounding or noise.
LEAST_SINGULAR_VALUE = 1e-3


class Ability(Enum):
    """What an operator offers besides A itself."""

    ADJOINT = 'an adjoint (it is linear)'
    INVERSE = 'a pseudo-inverse'
    SPECTRUM = 'singular values'


SIGMA_Y = Argument('sigma_y', 0.0, 0.0, 2.0, 'standard deviation of the noise in the measurement')


class Operator(nn.Module):
    """Base of operators: A, and what can be said about it.

    A buffer holds one row for each sample, or one for all; so does ``sigma_y``.

    Args:
        shape: Channels, height and width of the images, which are in [-1, 1].
        sigma_y: Standard deviation of the noise in y: a number, or one for each sample.

    Attributes:
        name: What it is called for short.
        arguments: Its numbers, with their ranges.
        abilities: What it offers.
        bound: The largest number in A(x), if none in x is larger than 1.
    """

    name: ClassVar[str] = ''
    arguments: ClassVar[tuple[Argument, ...]] = (SIGMA_Y,)
    abilities: frozenset[Ability] = frozenset({Ability.ADJOINT, Ability.INVERSE, Ability.SPECTRUM})
    bound: float = float('inf')
    noise: Tensor

    def __init__(self, shape: Shape, sigma_y: Noise = 0.0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.register_buffer('noise', torch.as_tensor(sigma_y).double().view(-1, 1, 1, 1))
        if not (self.noise >= 0).all():
            raise ValueError(f'sigma_y is 0 or more, not {self.noise.min():g}')

    def forward(self, x: Tensor) -> Tensor:
        """A(x)."""
        raise NotImplementedError

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y; by default what autograd makes of A."""
        with torch.inference_mode(False), torch.enable_grad():
            x = y.new_zeros(len(y), *self.shape).requires_grad_()
            return torch.autograd.grad(self(x), x, y.clone())[0]

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """A⁺ y; by default (Aᵀ A)⁺ Aᵀ y."""
        inverse = self.weigh(self.adjoint(y.double()), lambda s: torch.where(s > 0, s**-2, 0))
        return inverse.to(y.dtype)

    def weigh(self, x: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
        """V f(s) Vᵀ x, for A = U diag(s) Vᵀ.

        Args:
            x: Images.
            weight: f, elementwise; it is given 0 for directions that A loses.
        """
        raise NotImplementedError

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """What an image lacks of a measurement, y - A(x)."""
        return y.to(x.dtype) - self(x)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """The nearest image whose measurement is y."""
        return x + self.pseudo_inverse(self.residual(x, y))

    def taken(self, y: Tensor) -> Tensor:
        """The measurement of [-1, 1] images that a measurement comes to, as its maker gives it."""
        return y

    def rows(self, rows: Rows) -> Operator:
        """The operator of some of the samples."""
        return self._each(lambda name, own: own if len(own) == 1 else own[rows])

    def joined(self, others: Sequence[Operator]) -> Operator:
        """The operator of a batch whose samples have this one and those of its class."""
        return self._each(
            lambda name, own: torch.cat([own, *(other.get_buffer(name) for other in others)])
        )

    def moved(self, device: torch.device) -> Operator:
        """The operator on another device."""
        return self._each(lambda name, buffer: buffer.to(device))

    def check(self) -> None:
        """Refuses what leaves nothing to measure; called before any sampling."""

    def _each(self, change: Callable[[str, Tensor], Tensor]) -> Operator:
        """A copy with every buffer changed."""
        other = copy.copy(self)
        buffers = dict(self.named_buffers(recurse=False))
        other._buffers = {name: change(name, buffer) for name, buffer in buffers.items()}
        return other


@dataclass(frozen=True)
class Measurement:
    """What is known of some images: y = A(x) + sigma_y · noise, a row for each sample."""

    y: Tensor
    operator: Operator

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def joined(cls, parts: Sequence[Measurement]) -> Measurement:
        """The measurements of a batch, by operators of one class."""
        first, *others = (part.operator for part in parts)
        shared = all(other is first for other in others)
        operator = first if shared else first.joined(others)
        return cls(torch.cat([part.y for part in parts]), operator)

    def __getitem__(self, rows: Rows) -> Measurement:
        """The measurement of some of the samples, each as often as it is named."""
        return Measurement(self.y[rows], self.operator.rows(rows))

    def to(self, device: torch.device) -> Measurement:
        """The same on another device."""
        return Measurement(self.y.to(device), self.operator.moved(device))

    def residual(self, x: Tensor) -> Tensor:
        """What images lack of it."""
        return self.operator.residual(x, self.y)

    def project(self, x: Tensor) -> Tensor:
        """The nearest images that have it."""
        return self.operator.project(x, self.y.to(x.dtype))

    def check(self, shape: Sequence[int]) -> None:
        """Refuses, before anything is sampled, what is no measurement of images of this shape."""
        operator, y = self.operator, self.y
        name = type(operator).__name__
        if operator.shape != tuple(shape):
            raise ValueError(
                f'{name} is for images of {_by(operator.shape)}, and the model makes {_by(shape)}'
            )
        operator.check()
        wanted = tuple(operator(y.new_zeros(1, *shape)).shape[1:])
        if tuple(y.shape[1:]) != wanted:
            raise ValueError(
                f'y has shape {_by(y.shape)}; {name} makes (N, {", ".join(map(str, wanted))}) of '
                f'images of {_by(shape)}'
            )
        for key, rows in operator.named_buffers(recurse=False):
            if len(rows) not in (1, len(y)):
                raise ValueError(
                    f'{name} has {len(rows)} rows of {key} and y has {len(y)} measurements; give '
                    'one for each, or one for all'
                )
        # No normal number of any tensor is six deviations out.
        limit = operator.bound * 1.001 + 6 * operator.noise.max().item()
        if not y.abs().max() <= limit:
            raise ValueError(
                f'y has values from {y.min():g} to {y.max():g}; of images in [-1, 1] {name} makes '
                f'none beyond {operator.bound:.3g}, and sigma_y={operator.noise.max():g} is little'
            )


def _by(shape: Sequence[int]) -> str:
    return f'({", ".join(map(str, shape))})'
