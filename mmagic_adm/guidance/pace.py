"""When guidance acts, and how strongly: in an interval, at every k-th step, on a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING

from mmagic_adm.arguments import whole
from mmagic_adm.diffusion import NoiseLevel

if TYPE_CHECKING:
    from mmagic_adm.guidance.base import Guided, Path

Schedule = Callable[[float], float]
"""Maps how noisy a step is, from 1 at the first to 0 at a clean image, to a factor."""


def constant(noise: float) -> float:
    """Alike in every step."""
    return 1.0


def linear(noise: float) -> float:
    """From 0 at the noisiest step towards 2 at the last, 1 on average (Wang et al. 2024)."""
    return 2 * (1 - noise)


def cosine(noise: float) -> float:
    """The same on a cosine (Wang et al. 2024)."""
    return 1 + math.cos(math.pi * noise)


SCHEDULES: Mapping[str, Schedule] = dict(constant=constant, linear=linear, cosine=cosine)


class Pace:
    """Which steps guidance acts in, and the factor on its scale in each.

    Args:
        interval: The lowest and the highest timestep at which it acts (limited-interval guidance,
            Kynkäänniemi et al. 2024). None is all.
        every: Acts at the first of every so many steps within the interval, with the factors of
            all of them together (compressed guidance, Dinh et al. 2024).
        schedule: Factor on the scale: 'constant'; 'linear' or 'cosine', which rise from 0 at the
            noisiest step towards 2 at the last; or a function of how noisy the step is, from 1 at
            the first to 0 at a clean image.
    """

    def __init__(
        self,
        interval: tuple[float, float] | None = None,
        every: int = 1,
        schedule: str | Schedule = 'constant',
    ) -> None:
        if interval is not None and not _is_interval(interval):
            raise ValueError(f'interval is (t_low, t_high) with t_low <= t_high, not {interval}')
        whole(every, 'every=k lets guidance act at every k-th step, k from 1 on')
        if schedule not in SCHEDULES if isinstance(schedule, str) else not callable(schedule):
            raise ValueError(
                f'schedule is {", ".join(map(repr, SCHEDULES))} or a function, not {schedule!r}'
            )
        self.interval = None if interval is None else (interval[0], interval[1])
        self.every = every
        self.schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule

    @property
    def is_even(self) -> bool:
        """Whether guidance acts alike at every step."""
        return self.interval is None and self.every == 1 and self.schedule is constant

    def factors(self, timesteps: Sequence[float]) -> dict[float, float]:
        """The factor at each timestep at which guidance acts.

        Args:
            timesteps: Those of the walk, each once, noisiest first.
        """
        low, high = self.interval or (-math.inf, math.inf)
        inside = [t for t in timesteps if low <= t <= high]
        if not inside:
            raise ValueError(
                f'interval={self.interval} holds none of the {len(timesteps)} timesteps from '
                f'{timesteps[0]:g} to {timesteps[-1]:g}; widen it, or take more steps'
            )
        noisiest = max(timesteps[0], 1)
        groups = [inside[i : i + self.every] for i in range(0, len(inside), self.every)]
        return {group[0]: sum(self.schedule(t / noisiest) for t in group) for group in groups}

    def over(self, path: Path) -> Callable[[NoiseLevel], float]:
        """The factor at each level of one walk; 0 where guidance is skipped."""
        if self.is_even:
            return lambda level: 1.0
        factors = self.factors(path.timesteps)
        return lambda level: factors.get(path.nearest(level), 0.0)

    def check_fits(self, name: str, scheduler: Guided) -> None:
        """Refuses an interval outside the process; ``name`` is who has it."""
        if self.interval is None:
            return
        process, (low, high) = scheduler.full_process, self.interval
        end = process.num_train_timesteps * process.timestep_scale
        if low < 0 or high > end:
            raise ValueError(
                f'interval={self.interval} of {name} lies outside the process of '
                f'{type(scheduler).__name__}, whose timesteps run from 0 to '
                f'{end - process.timestep_scale:g}'
            )


def _is_interval(interval: Sequence[float]) -> bool:
    is_pair = isinstance(interval, Sequence) and len(interval) == 2
    return is_pair and all(isinstance(t, Real) for t in interval) and interval[0] <= interval[1]
