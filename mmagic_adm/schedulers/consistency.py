"""Sampling from a consistency function, in one step or a few."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel, NoiseSchedule, edm_sigma
from mmagic_adm.guidance.base import Guide, Moment
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, Scheduler, StepNoise


@DIFFUSION_SCHEDULERS.register_module()
class ConsistencyScheduler(Scheduler):
    """Algorithm 1 of Consistency Models (https://arxiv.org/abs/2303.01469).

    The function is asked for the end of the flow, at once; each further step adds noise to what it
    said and asks again. A gradient acts between the steps, on the samples with that noise, which in
    one step there are none of.

    Args:
        sigma_min: The noise level at which the function gives back what it is given.
        sigma_max: The noise level to start from.
        rho: How much denser the levels lie at the end.
        num_scales: How many levels there are, of which few are taken.
        clip_sample: Whether images are kept within [-1, 1].
        beta_schedule: The discrete process in whose timesteps guidance is told of noise.
        num_train_timesteps: How many timesteps that process has.
    """

    is_of_ends = True

    def __init__(
        self,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        num_scales: int = 40,
        clip_sample: bool = True,
        beta_schedule: NoiseSchedule = 'cosine',
        num_train_timesteps: int = 1000,
    ) -> None:
        if not 0 <= sigma_min < sigma_max:
            raise ValueError(f'sigma_min {sigma_min} is not from 0 to below sigma_max {sigma_max}')
        if num_scales < 2 or rho <= 0:
            raise ValueError(f'num_scales is 2 or more and rho above 0, not {num_scales} and {rho}')
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        self.num_scales, self.clip_sample = num_scales, clip_sample
        self.full_process = GaussianDiffusion(beta_schedule, num_train_timesteps)

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the levels τ at which the function is asked.

        Args:
            spec: Their places among the scales, 0 the noisiest, and the end, such as '0,22,39' of
                40 for two steps; or a number of steps, spaced evenly; ``None`` is one.
        """
        last = self.num_scales - 1
        ts = str(1 if spec is None else spec).split(',')
        if not all(part.strip().isdecimal() for part in ts):
            raise ValueError(f"steps are a number, or places such as '0,22,39', not {spec!r}")
        places = [int(part) for part in ts]
        if len(places) == 1:
            count = places[0]
            if not 1 <= count <= last:
                raise ValueError(f'{self.num_scales} scales allow 1 to {last} steps, not {count}')
            places = [round(i * last / count) for i in range(count + 1)]
        if places != sorted(set(places)) or places[-1] != last:
            raise ValueError(
                f"steps '{spec}' are no way down: the places among {self.num_scales} scales rise "
                f'one by one and end at {last}, the last'
            )
        self.levels = [self._at(place / last) for place in places[:-1]]

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 1; see `Scheduler.steps`."""
        levels = self.levels[skip:]
        if guidance is not None and len(levels) == 1:
            name = type(guidance.guidance).__name__
            raise ValueError(f'{name} acts between steps, and one step has nothing between: take 2')
        # x ← f(x̂_T, T)
        x_0 = denoiser(x, levels[0]).x_0
        for level in levels[1:]:
            # x̂_τ ← x + √(τ² - ε²) z, z ~ N(0, I)
            x = x_0 + math.sqrt(float(level.noise) ** 2 - self.sigma_min**2) * draw(x_0)
            if guidance is not None:
                # The mean of x̂_τ is moved by its variance times the gradient (ADM, algorithm 1).
                unit = level.unit()
                moment = Moment(level.to_unit(x), level, x_0)
                x = x + guidance.push(moment, unit.noise**2) * level.scale
            yield x, x_0
            # x ← f(x̂_τ, τ)
            x_0 = denoiser(x, level).x_0
        yield x_0, x_0

    def init_noise(self, noise: Tensor) -> Tensor:
        """x̂_T: noise at the level of the first step."""
        return noise * self.levels[0].noise

    def _at(self, share: float) -> NoiseLevel:
        return NoiseLevel(1.0, edm_sigma(share, self.sigma_min, self.sigma_max, self.rho))
