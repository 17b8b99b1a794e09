"""Restart sampling: down to little noise, up to much of it at once, and down again, some times.

The noise that is added contracts the errors made so far; the steps in between are deterministic
and make few (Xu et al. 2023, https://arxiv.org/abs/2306.14878).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor

from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance.base import Form, Guide
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, StepNoise
from mmagic_adm.schedulers.ddim import DDIMScheduler
from mmagic_adm.schedulers.edm import EDMHeunScheduler


class Restart(NamedTuple):
    """An interval that is walked again, in the order of the paper's tables.

    Attributes:
        points: N_restart, the levels from its top to its bottom.
        repeats: K, how often it is walked again.
        t_min: Its bottom, where the restart begins: moved to the nearest level of the main walk.
        t_max: Its top.
    """

    points: int
    repeats: int
    t_min: float
    t_max: float


Intervals = Sequence[Sequence[float]]


@DIFFUSION_SCHEDULERS.register_module()
class RestartScheduler(EDMHeunScheduler):
    """Algorithm 1 of Restart, by EDM's second-order steps in sigma.

    Args:
        restarts: The intervals, (N_restart, K, sigma_min, sigma_max) each. Of two that begin at
            the same level, the later counts.
        restart_gamma: In restarts, how much noise a step adds as a share of what there is, between
            S_min and S_max.
        **edm: Arguments of :class:`EDMHeunScheduler`, which the main walk is by.
    """

    guided_by = frozenset({Form.GRADIENT})

    def __init__(self, restarts: Intervals, restart_gamma: float = 0.0, **edm: Any) -> None:
        super().__init__(**edm)
        if self.solver != 'heun':
            raise ValueError(f"RestartScheduler takes steps by 'heun', not by {self.solver!r}")
        if restart_gamma < 0:
            raise ValueError(f'restart_gamma is 0 or more, not {restart_gamma}')
        self.restarts = _checked(restarts, self.sigma_min, self.sigma_max, 'sigma_min', 'sigma_max')
        self.restart_gamma = restart_gamma

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps of the main walk, and so on those of the restarts.

        Args:
            spec: See :class:`EDMHeunScheduler`; restarts come on top.
        """
        super().set_timesteps(spec)
        self._main = self.levels
        way = _with_restarts(self._sigmas(), self.restarts, lambda t: t, self._down_from)
        # t̂ of every step: by S_churn in the main walk.
        self._way = [
            (t, self._raised_again(t) if again else self._raised(t), t_next)
            for t, t_next, again in way
        ]
        self.levels = [NoiseLevel(1.0, t) for t, *_ in self._way]

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 1 of Restart; see `Scheduler.steps`."""
        x, arrived = x.double(), math.inf
        for t, t_hat, t_next in self._way[skip:]:
            # Restart forward process: x_{t_max} ← x_{t_min} + ε, ε ~ N(0, (t_max² - t_min²) I)
            if t > arrived:
                x = x + math.sqrt(t**2 - arrived**2) * self.S_noise * draw(x)
            # x̂ ← x + √(t̂² - t²) ε
            x_hat = x
            if t_hat > t:
                x_hat = x + math.sqrt(t_hat**2 - t**2) * self.S_noise * draw(x)
            # OneStep_Heun (EDM, algorithm 1): x ← x̂ + (t_next - t̂) (½ d + ½ d')
            x_0, d = self._image_and_slope(denoiser, x_hat, t_hat, guidance)
            x = x_hat + (t_next - t_hat) * d
            if t_next > 0:
                x_0, d_prime = self._image_and_slope(denoiser, x, t_next, guidance)
                x = x_hat + (t_next - t_hat) * (d + d_prime) / 2
            arrived = t_next
            yield x, x_0

    def calls(self, skip: int = 0) -> Sequence[NoiseLevel]:
        """The levels at which a walk calls the denoiser."""
        ends = [t for _, *ends in self._way[skip:] for t in ends]
        return [NoiseLevel(1.0, t) for t in ends if t > 0]

    def to_noise(self, denoiser: Denoise, images: Tensor) -> Tensor:
        """The noise that images would be sampled from without restarts."""
        main = copy.copy(self)
        main.levels = self._main
        return super(RestartScheduler, main).to_noise(denoiser, images)

    def _down_from(self, restart: Restart, bottom: float) -> list[float]:
        """The levels of a restart, as dense towards its end as those of the main walk."""
        first, last = (t ** (1 / self.rho) for t in (restart.t_max, bottom))
        shares = [i / (restart.points - 1) for i in range(restart.points - 1)]
        return [*((first + share * (last - first)) ** self.rho for share in shares), bottom]

    def _raised_again(self, t: float) -> float:
        inside = self.S_min <= t <= self.S_max
        return t * (1 + self.restart_gamma) if inside else t


@DIFFUSION_SCHEDULERS.register_module()
class DDIMRestartScheduler(DDIMScheduler):
    """Algorithm 1 of Restart in a discrete process, by DDIM's steps.

    Args:
        restarts: The intervals, (N_restart, K, t_min, t_max) each, in timesteps of the process that
            the network was trained on. Of two that begin at the same one, the later counts.
        **ddim: Arguments of :class:`DDIMScheduler`, which the main walk is by.
    """

    def __init__(self, restarts: Intervals, **ddim: Any) -> None:
        super().__init__(**ddim)
        if self.full_process.prediction_type == 'previous_x':
            raise ValueError(
                'DDIMRestartScheduler asks for images at timesteps between those of the main walk, '
                "which a network with prediction_type='previous_x' does not know"
            )
        last = self.num_train_timesteps - 1
        self.restarts = _checked(restarts, 0, last, 'timestep 0', 'the last timestep')

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps of the main walk, and so on those of the restarts.

        Args:
            spec: See :class:`DDIMScheduler`; restarts come on top.
        """
        super().set_timesteps(spec)
        main = [*self.levels, self._level_after(0)]
        self._way = _with_restarts(
            main, self.restarts, lambda level: level.timestep, self._down_from
        )
        self.levels = [here for here, *_ in self._way]

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 1 of Restart; see `Scheduler.steps`."""
        arrived = None
        for here, there, _ in self._way[skip:]:
            # Restart forward process: x_{t_max} ~ q(x_{t_max} | x_{t_min})
            if arrived is not None and here.noise > arrived.noise:
                kept = here.signal / arrived.signal
                x = kept * x + (here.noise**2 - (kept * arrived.noise) ** 2) ** 0.5 * draw(x)
            # A step of DDIM (eq. 12)
            x, x_0 = self._between(denoiser(x, here), x, here, there, guidance, draw)
            arrived = there
            yield x, x_0

    def _enter(self, *_: Any, **__: Any) -> Any:
        raise TypeError('restarts are part of a walk and no steps of their own: take walk(...)')

    def _down_from(self, restart: Restart, bottom: NoiseLevel) -> list[NoiseLevel]:
        """The levels of a restart, evenly spaced in timesteps."""
        last: Any = bottom.timestep
        count = restart.points - 1
        timesteps = [restart.t_max + i / count * (last - restart.t_max) for i in range(count)]
        return [*map(self.full_process.level_at, timesteps), bottom]


def _checked(restarts: Intervals, low: float, high: float, *named: str) -> list[Restart]:
    """The intervals, if they are some and lie within the process."""
    checked = []
    for given in restarts:
        if len(given) != 4:
            raise ValueError(f'a restart is (points, repeats, t_min, t_max), not {given}')
        restart = Restart(int(given[0]), int(given[1]), given[2], given[3])
        if restart.points < 2 or restart.repeats < 1:
            raise ValueError(
                f'the restart {tuple(given)} has {restart.points} points and {restart.repeats} '
                'repeats; it takes 2 points and 1 repeat at least'
            )
        if not low <= restart.t_min < restart.t_max <= high:
            raise ValueError(
                f'the restart {tuple(given)} goes from {restart.t_max:g} down to '
                f'{restart.t_min:g}, which is not within {named[1]}={high:g} and {named[0]}={low:g}'
            )
        checked.append(restart)
    return checked


def _with_restarts(
    main: Sequence[Any],
    restarts: Iterable[Restart],
    noise_of: Callable[[Any], float],
    down_from: Callable[[Restart, Any], list[Any]],
) -> list[tuple[Any, Any, bool]]:
    """Where every step begins and ends, and whether it is of a restart.

    Args:
        main: The levels of the main walk, with that where it ends.
        restarts: The intervals.
        noise_of: The unit that these are in, of a level.
        down_from: The levels of a restart that ends at a level.
    """
    begun: dict[int, list[tuple[Any, Any]]] = {}
    for restart in restarts:
        place = min(
            range(len(main) - 1), key=lambda place: abs(noise_of(main[place]) - restart.t_min)
        )
        bottom = noise_of(main[place])
        if place == 0 or bottom >= restart.t_max:
            raise ValueError(
                f'the restart {tuple(restart)} begins at {bottom:g}, the nearest of the '
                f'{len(main) - 1} levels that are walked, and not below its top: take more steps, '
                'or a wider interval'
            )
        begun[place] = [*pairwise(down_from(restart, main[place]))] * restart.repeats
    way = []
    for place, (here, there) in enumerate(pairwise(main), 1):
        way.append((here, there, False))
        way += [(top, below, True) for top, below in begun.get(place, ())]
    return way
