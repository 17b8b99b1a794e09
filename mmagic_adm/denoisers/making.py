"""Makes the denoiser of a network: the one place that knows how a network was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mmagic_adm.denoisers.base import Denoiser, told_to_all
from mmagic_adm.denoisers.finite import FiniteWatch
from mmagic_adm.denoisers.preconditioned import PreconditionedNetwork
from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel, Prediction


def make_denoiser(
    network: Any,
    process: GaussianDiffusion,
    inputs: Mapping[str, Tensor] | None = None,
    watch: FiniteWatch | None = None,
) -> Denoiser:
    """A network as whoever samples asks for it: ``denoiser(x_t, level) -> Prediction``.

    Args:
        network: A network that is told timesteps, or one in a preconditioning, told sigma.
        process: The discrete process that the network was trained on, if it is told timesteps.
        inputs: What else it is given, one row for each sample, such as labels.
        watch: Sees to it that its output is finite; a walk closes it at its end.
    """
    kind = (
        PreconditionedDenoiser if isinstance(network, PreconditionedNetwork) else DiscreteDenoiser
    )
    return kind(network, process, inputs or {}, watch or FiniteWatch())


@dataclass(frozen=True)
class NetworkDenoiser(Denoiser):
    """Base of denoisers that call a network; see :func:`make_denoiser`."""

    network: Any
    process: GaussianDiffusion
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    watch: FiniteWatch = field(default_factory=FiniteWatch)

    def of(self, network: Any) -> Denoiser:
        """The denoiser of another network, trained on the same process if it is on any."""
        return make_denoiser(network, self.process, self.inputs, self.watch)


class DiscreteDenoiser(NetworkDenoiser):
    """A network that was trained on a discrete process, and is told its timesteps.

    A level that is a timestep's is told as it is. Levels in between get a timestep in between;
    levels beyond the process get its first or last timestep, so keep a sampler's within its range.
    """

    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """What the network's output means."""
        unit, x = level.unit(), level.to_unit(x_t)
        if unit is not level:
            x = x.float()  # a solver in float64 asks a network in float32
        output = self.network(x, told_to_all(self.process.told(level), x), **inputs)
        self.watch(output, level.name)
        return self.process.read(output, x, unit)


class PreconditionedDenoiser(NetworkDenoiser):
    """A network in its preconditioning, told sigma."""

    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """The image that the network sees, and the noise that is left."""
        x = x_t if level.signal == 1 else x_t / level.signal
        x_0 = self.network(x, told_to_all(level.sigma, x), **inputs)
        self.watch(x_0, level.name)
        return Prediction(x_0, level.eps(x_t, x_0))
