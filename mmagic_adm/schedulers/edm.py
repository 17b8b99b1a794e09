"""EDM's sampler: Heun's method over noise levels, which may be raised again; and its relatives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from torch import Tensor

from mmagic_adm.arguments import finite
from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel, NoiseSchedule, edm_sigma
from mmagic_adm.guidance.base import Form, Guide
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, Scheduler, StepNoise, look

Solver = Literal['heun', 'euler', 'dpm2', 'ancestral']

# What EDM takes where it is not told.
DEFAULT_STEPS = 18


@DIFFUSION_SCHEDULERS.register_module()
class EDMHeunScheduler(Scheduler):
    """Algorithm 2 of EDM (https://arxiv.org/abs/2206.00364), and algorithm 1 without its noise.

    Samples are x_0 + sigma eps, in float64. Guidance is told of noise as in a discrete process: it
    sees x / √(1 + sigma²), of unit variance, and the timestep with as much noise.

    Args:
        sigma_min: The last noise level but 0.
        sigma_max: The first noise level.
        rho: How much denser the levels lie at the end.
        solver: 'heun'; 'euler' for steps that are not corrected; 'dpm2' for the slope halfway, the
            second solver of DPM-Solver; 'ancestral' for Euler's steps to less noise than is next,
            the rest of which is drawn.
        to_zero: Whether the last step leaves no noise; else it leaves ``sigma_min``, to which the
            levels are then spaced, as progressive distillation has them.
        clip_sample: Whether the image in a sample, and so the slope, is kept within [-1, 1].
        S_churn: How much noise is added anew, over all steps; 0 draws none.
        S_min: Lowest noise level at which noise is added.
        S_max: Highest noise level at which noise is added.
        S_noise: Standard deviation of the noise that is added.
        beta_schedule: The discrete process in whose timesteps guidance is told of noise, such as
            the one that a noise-aware classifier is trained on.
        num_train_timesteps: How many timesteps that process has.

    Attributes:
        full_process: That process.
    """

    short_name = 'edm'
    guided_by = frozenset({Form.GRADIENT, Form.SAMPLE})

    def __init__(
        self,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        solver: Solver = 'heun',
        to_zero: bool = True,
        clip_sample: bool = False,
        S_churn: float = 0.0,
        S_min: float = 0.0,
        S_max: float = math.inf,
        S_noise: float = 1.0,
        beta_schedule: NoiseSchedule = 'cosine',
        num_train_timesteps: int = 1000,
    ) -> None:
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f'sigma_min {sigma_min} is not between 0 and sigma_max {sigma_max}')
        if rho <= 0 or S_churn < 0:
            raise ValueError(f'rho is above 0 and S_churn 0 or more, not {rho} and {S_churn}')
        for number in (sigma_max, rho, S_churn, S_min, S_noise):
            finite(number, 'the numbers of EDMHeunScheduler, but for S_max, are finite')
        if solver not in get_args(Solver):
            raise ValueError(f'solver is one of {", ".join(get_args(Solver))}, not {solver!r}')
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        self.solver, self.to_zero, self.clip_sample = solver, to_zero, clip_sample
        self.S_churn, self.S_min, self.S_max, self.S_noise = S_churn, S_min, S_max, S_noise
        self.full_process = GaussianDiffusion(beta_schedule, num_train_timesteps)

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps, at the noise levels t_0 to t_{N-1} (EDM, eq. 5).

        Args:
            spec: Their number, or ``None`` for 18. The network is called twice in all but one.
        """
        num_steps = _number_of_steps(spec)
        gaps = max(num_steps - 1, 1) if self.to_zero else num_steps
        self.levels = [
            _at(edm_sigma(i / gaps, self.sigma_min, self.sigma_max, self.rho))
            for i in range(num_steps)
        ]

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 2 of EDM; see `Scheduler.steps`."""
        guide, x_next, num_steps, sigmas = guidance, x.double(), len(self.levels), self._sigmas()
        for i in range(skip, num_steps):
            t_i, t_next = sigmas[i], sigmas[i + 1]
            # t̂_i ← t_i + γ_i t_i;  x̂_i ← x_i + √(t̂_i² - t_i²) ε_i, ε_i ~ N(0, S_noise² I)
            x_i, t_hat = x_next, self._raised(t_i)
            x_hat = x_i
            if self.S_churn > 0:
                x_hat = x_i + math.sqrt(t_hat**2 - t_i**2) * self.S_noise * draw(x_i)
            if guide is not None and Form.SAMPLE in guide.forms:
                x_hat = guide.push_sample(x_i, x_hat, _at(t_hat), i, num_steps)
            t_end, t_up = self._ends(t_hat, t_next)
            # d_i ← (x̂_i - D(x̂_i; t̂_i)) / t̂_i
            x_0, d_i = self._image_and_slope(denoiser, x_hat, t_hat, guide)
            t_again = self._again(t_hat, t_end)
            if t_again is not None:
                # d'_i, the same at t_{i+1} or halfway;  d_i ← ½ d_i + ½ d'_i, or d'_i
                x_again = x_hat + (t_again - t_hat) * d_i
                x_0, d_prime = self._image_and_slope(denoiser, x_again, t_again, guide)
                d_i = (d_i + d_prime) / 2 if self.solver == 'heun' else d_prime
            # x_{i+1} ← x̂_i + (t_{i+1} - t̂_i) d_i
            x_next = x_hat + (t_end - t_hat) * d_i
            if t_up > 0:
                x_next = x_next + t_up * draw(x_next)
            yield x_next, x_0

    def to_noise(self, denoiser: Denoise, images: Tensor) -> Tensor:
        """The noise that images would be sampled from without more of it: algorithm 1, upwards."""
        sigmas = [float(level.noise) for level in reversed(self.levels)]
        x = images.double()
        for t_i, t_next in itertools.pairwise(sigmas):
            _, d_i = self._image_and_slope(denoiser, x, t_i, None)
            t_again = self._again(t_i, t_next)
            if t_again is not None:
                x_again = x + (t_again - t_i) * d_i
                _, d_prime = self._image_and_slope(denoiser, x_again, t_again, None)
                d_i = (d_i + d_prime) / 2 if self.solver == 'heun' else d_prime
            x = x + (t_next - t_i) * d_i
        return (x / sigmas[-1]).to(images.dtype)

    def calls(self, skip: int = 0) -> Sequence[NoiseLevel]:
        """The levels at which a walk calls the denoiser."""
        calls = []
        for t_i, t_next in itertools.islice(itertools.pairwise(self._sigmas()), skip, None):
            t_hat = self._raised(t_i)
            again = self._again(t_hat, self._ends(t_hat, t_next)[0])
            calls += [_at(t) for t in (t_hat, again) if t is not None]
        return calls

    def init_noise(self, noise: Tensor) -> Tensor:
        """x_0 of the algorithm: noise at the level of the first step, in float64."""
        return noise.double() * self.levels[0].noise

    def noised(self, images: Tensor, noise: Tensor, skip: int) -> Tensor:
        """Images as noisy as samples are after so many steps, in float64."""
        return super().noised(images.double(), noise.double(), skip)

    def _raised(self, t_i: float, churn: float | None = None) -> float:
        """The noise level t̂_i = t_i + γ_i t_i, by S_churn if there is no other churn."""
        if not self.S_min <= t_i <= self.S_max:
            return t_i
        churn = self.S_churn if churn is None else churn
        return t_i + min(churn / len(self.levels), math.sqrt(2) - 1) * t_i

    def _sigmas(self) -> list[float]:
        """Where steps begin, and where the last one ends."""
        end = 0.0 if self.to_zero else self.sigma_min
        return [*(float(level.noise) for level in self.levels), end]

    def _ends(self, t_hat: float, t_next: float) -> tuple[float, float]:
        """How far down the slope leads, and how much noise brings it up to t_{i+1} again."""
        if self.solver != 'ancestral':
            return t_next, 0.0
        # The variance of p(x_{i+1} | x_i, x_0), as in DDPM.
        up = math.sqrt(t_next**2 * (t_hat**2 - t_next**2)) / t_hat
        return math.sqrt(t_next**2 - up**2), up

    def _again(self, t_hat: float, t_next: float) -> float | None:
        """Where the slope is taken a second time: where the step ends, if noise is left, or midway.

        Midway is in cube roots.
        """
        if self.solver == 'dpm2':
            return ((t_hat ** (1 / 3) + t_next ** (1 / 3)) / 2) ** 3
        return t_next if self.solver == 'heun' and t_next > 0 else None

    def _image_and_slope(
        self, denoiser: Denoise, x: Tensor, sigma: float, guide: Guide | None
    ) -> tuple[Tensor, Tensor]:
        """The image and dx/dσ, which is the noise in x (EDM, eq. 1), under guidance."""
        return look(denoiser, x, _at(sigma), guide, self.clip_sample)


def _at(sigma: float) -> NoiseLevel:
    return NoiseLevel(1.0, sigma)


def _number_of_steps(spec: str | int | None) -> int:
    if spec is None:
        return DEFAULT_STEPS
    if not str(spec).isdecimal() or int(spec) < 1:
        raise ValueError(f'EDM spaces its steps by itself: give their number, not {spec!r}')
    return int(spec)
