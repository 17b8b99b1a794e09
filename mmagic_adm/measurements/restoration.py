"""What methods that sample given a measurement have in common."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mmagic_adm.arguments import Argument
from mmagic_adm.denoisers import Denoiser, WrappedDenoiser
from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.guidance.base import Batch, Form, Guidance, Guide, Path, Scale
from mmagic_adm.measurements.operator import Ability, Measurement


class Seen(NamedTuple):
    """What the denoiser says of x_t, for a method to make use of."""

    x_0: Tensor
    level: NoiseLevel
    pull: Callable[[Tensor], Tensor]
    """Jᵀ v, J being the Jacobian of x_0 by x_t."""

    def covariance(self, v: Tensor) -> Tensor:
        """Cov[x_0 | x_t] v = σ²/α Jᵀ v (Tweedie's second formula)."""
        return self.level.noise**2 / self.level.signal * self.pull(v)


class Restoration(Guidance):
    """Base of the methods: guidance by a measurement, which :meth:`on` gives it.

    Attributes:
        name: What it is called for short.
        needs: What it asks of an operator.
        differentiates: Whether it goes back through the network.
        scheduler: Config of the scheduler that it was written for; None is any.
        arguments: Its numbers, with their ranges.
        particles: Samples that are drawn together as one.
    """

    forms = frozenset({Form.IMAGE})
    name: ClassVar[str] = ''
    needs: ClassVar[frozenset[Ability]] = frozenset()
    differentiates: ClassVar[bool] = True
    scheduler: ClassVar[Mapping[str, Any] | None] = None
    arguments: ClassVar[tuple[Argument, ...]] = ()
    particles: int = 1
    measurement: Measurement | None = None

    def on(self, measurement: Measurement) -> Restoration:
        """The method for a measurement, once it has all that it needs."""
        operator = measurement.operator
        for ability in Ability:
            if ability in self.needs - operator.abilities:
                raise ValueError(
                    f'{type(self).__name__} needs an operator with {ability.value}, which '
                    f'{type(operator).__name__} has not; DPS takes any'
                )
        own = copy.copy(self)
        own.measurement = measurement
        return own

    def spread(self, count: int) -> Restoration:
        """The method for a batch in which each measurement serves for as many samples."""
        rows = torch.arange(count) // (count // len(self.given))
        return self.on(self.given[rows.to(self.given.y.device)])

    @property
    def given(self) -> Measurement:
        """The measurement."""
        if self.measurement is None:
            raise ValueError(
                f'{type(self).__name__} has nothing to restore: sample with restore(), or give '
                'infer() a measurement'
            )
        return self.measurement

    def bind(
        self,
        path: Path,
        labels: Tensor | None = None,
        scale: Scale | None = None,
        device: torch.device | str = 'cpu',
    ) -> Guide | None:
        """The method for one batch, a sample for each row of the measurement."""
        moved = self.on(self.given.to(torch.device(device)))
        return super(Restoration, moved).bind(path, labels, scale, device)

    def correct(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The denoiser with what this makes of its images."""
        return _Corrected(denoiser, self, batch) if Form.IMAGE in self.forms else denoiser

    def image(self, seen: Seen, batch: Batch) -> Tensor | None:
        """The image in the place of the predicted one; None leaves it.

        Args:
            seen: What the denoiser says.
            batch: The samples.
        """
        raise NotImplementedError


class _Corrected(WrappedDenoiser):
    """A denoiser whose images a method corrects; their noise follows from them."""

    def __init__(self, inner: Denoiser, method: Restoration, batch: Batch) -> None:
        super().__init__(inner)
        self.method = method
        self.batch = batch

    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """What the other says, corrected; no graph of it is left."""
        if not self.method.differentiates:
            said = self.inner.predict(x_t, level, inputs)
            corrected = self.method.image(Seen(said.x_0, level, _no_graph), self.batch)
        else:
            with torch.inference_mode(False), torch.enable_grad(), _frozen(self.network):
                x = x_t.detach().clone().requires_grad_()
                with_graph = self.inner.predict(x, level, inputs)

            def pull(v: Tensor) -> Tensor:
                image = with_graph.x_0
                return torch.autograd.grad(image, x, v.to(image.dtype), retain_graph=True)[0]

            said = with_graph.detached()
            corrected = self.method.image(Seen(said.x_0, level, pull), self.batch)
        return said if corrected is None else said.corrected(corrected.to(x_t.dtype), x_t, level)


def _no_graph(v: Tensor) -> Tensor:
    raise RuntimeError('a method that differentiates has to say so')


@contextlib.contextmanager
def _frozen(network: Any) -> Iterator[None]:
    """While this lasts, a graph keeps nothing for the gradients of parameters."""
    parameters = network.parameters() if isinstance(network, nn.Module) else ()
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
