"""Samplers that go back up on their way, so that what is known and what is invented agree."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from torch import Tensor

from mmagic_adm.guidance.base import Form, Guide, Mixture, Moment
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, StepNoise, landed
from mmagic_adm.schedulers.ddim import DDIMScheduler
from mmagic_adm.schedulers.ddpm import DDPMScheduler
from mmagic_adm.schedulers.discrete import DiscreteScheduler


class Travelling(DiscreteScheduler):
    """Base of schedulers whose walk jumps back.

    Args:
        jump_length: Timesteps of a stretch that is walked again.
        jump_repeats: How often each stretch is walked.
        **discrete: Arguments of the scheduler that takes the steps.
    """

    def __init__(self, jump_length: int, jump_repeats: int, **discrete: Any) -> None:
        super().__init__(**discrete)
        self.jump_length, self.jump_repeats = jump_length, jump_repeats

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps; see :meth:`DiscreteScheduler.set_timesteps`."""
        super().set_timesteps(spec)
        route = visited(self.process.num_timesteps, self.jump_length, self.jump_repeats)
        downwards = [here for here, there in pairwise(route) if there < here]
        self._walk_over(self.process, downwards[::-1])

    def _enter(self, *_: Any, **__: Any) -> Any:
        raise TypeError('jumps are part of a walk and no steps of their own: take walk(...)')


@DIFFUSION_SCHEDULERS.register_module()
class RePaintScheduler(Travelling, DDPMScheduler):
    """DDPM that walks each stretch of the way several times (https://arxiv.org/abs/2201.09865).

    It is for guidance that moves samples, such as RePaint, by which what is invented comes to fit
    what is known.

    Args:
        jump_length: Timesteps of a stretch.
        jump_repeats: How often each stretch is walked.
        **ddpm: Arguments of :class:`DDPMScheduler`.
    """

    def __init__(self, jump_length: int = 10, jump_repeats: int = 10, **ddpm: Any) -> None:
        super().__init__(jump_length, jump_repeats, **ddpm)

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 1 of RePaint; see `Scheduler.steps`."""
        at = None
        for index in self._indices[skip:]:
            if at is not None:
                for reached in range(at + 1, index + 1):
                    # x_t ~ N(√(1 - β) x_{t-1}, β)
                    beta = float(self.process.betas[reached])
                    x = (1 - beta) ** 0.5 * x + beta**0.5 * draw(x)
                x = landed(x, self.process.level(index), guidance, draw)
            prediction = denoiser(x, self.process.level(index))
            x, x_0 = self._back(prediction, x, index, guidance, draw)
            yield x, x_0
            at = index - 1


@DIFFUSION_SCHEDULERS.register_module()
class DDNMScheduler(Travelling, DDIMScheduler):
    """DDNM's sampler, with its travel in time (https://arxiv.org/abs/2212.00490, algorithm 2).

    As DDIM, with a share of each step's noise that is new, and with the noise that the network
    found in x_t, not what is left beside a corrected image.

    Args:
        eta: Share of the noise that is new, from 0 (none) to 1 (all).
        clip_sample: See :class:`DiscreteScheduler`.
        jump_length: Timesteps that are walked again.
        jump_repeats: How often they are walked.
        **ddim: Arguments of :class:`DDIMScheduler`.
    """

    guided_by = frozenset({Form.GRADIENT, Form.MIXTURE})

    def __init__(
        self,
        eta: float = 0.85,
        clip_sample: bool = False,
        jump_length: int = 1,
        jump_repeats: int = 1,
        **ddim: Any,
    ) -> None:
        super().__init__(jump_length, jump_repeats, eta=eta, clip_sample=clip_sample, **ddim)

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 2 of DDNM; see `Scheduler.steps`."""
        at, clean = None, x
        for index in self._indices[skip:]:
            here, there = self.process.level(index), self.process.level(index - 1)
            if at is not None and at < index:
                # x_{t+l} ~ q(x_{t+l} | x_0)
                x = here.mix(clean, draw(x))
            prediction = denoiser(x, here)
            own = prediction.uncorrected or prediction
            x_0, eps, clean = prediction.x_0, own.eps, own.x_0
            if guidance is not None and Form.GRADIENT in guidance.forms:
                shifted = guidance.shift_eps(Moment(x, here, x_0), eps)
                x_0, eps = x_0 - here.sigma * (shifted - eps), shifted
            # x_{t-1} ← √ᾱ_{t-1} x_0 + √(1 - ᾱ_{t-1}) (η z + √(1 - η²) eps)
            fresh, kept = self.eta * there.noise, (1 - self.eta**2) ** 0.5 * there.noise
            mixture = Mixture(x_0, eps, draw(x), there, fresh, kept)
            x = mixture.plain() if guidance is None else guidance.mix(mixture)
            yield x, x_0
            at = index - 1


def visited(steps: int, jump_length: int, jump_repeats: int, start: int | None = None) -> list[int]:
    """The indices of a process that a walk with jumps comes by (RePaint, appendix B).

    Args:
        steps: Timesteps of the process.
        jump_length: How far a jump leads back up.
        jump_repeats: How often each stretch of that length is walked.
        start: The index from which on there are jumps; None is the first.

    Returns:
        From ``steps`` - 1 to -1, the image.
    """
    if jump_length < 1 or jump_repeats < 1:
        raise ValueError(
            f'jump_length and jump_repeats are 1 or more, not {jump_length} and {jump_repeats}'
        )
    if jump_repeats > 1 and jump_length >= steps:
        raise ValueError(
            f'a walk of {steps} steps has no room to jump back by jump_length={jump_length}; take '
            'more steps or shorter jumps'
        )
    highest = (steps if start is None else start) - jump_length
    left = dict.fromkeys(range(0, steps - jump_length, jump_length), jump_repeats - 1)
    route, t = [], steps
    while t >= 1:
        t -= 1
        route.append(t)
        if left.get(t, 0) and t <= highest:
            left[t] -= 1
            route += range(t + 1, t + jump_length + 1)
            t += jump_length
    return [*route, -1]
