"""What consistency models are trained on: pairs of noise levels, which draw nearer together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mmagic_adm.diffusion.noise_level import edm_sigma

Weight = Literal['uniform', 'snr', 'snr+1', 'karras', 'truncated-snr', 'gap']
Growth = Literal['fixed', 'progressive', 'halving']


class LevelPairs(ABC):
    """Draws pairs of noise levels, t and a lower r, by the step of the training."""

    @abstractmethod
    def draw(self, count: int, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """So many t and r, (count,) each."""

    def rate(self, step: int) -> float:
        """How much of itself the average keeps that answers at r; 0 is the trained network."""
        return 0.0


@dataclass(frozen=True)
class Scales(LevelPairs):
    """Neighbours among N levels (Consistency Models, section 5 and appendix C).

    Args:
        start: N at the start.
        end: N - 1 at the end of 'progressive' growth.
        growth: How N goes: 'fixed', 'progressive', or 'halving' once in every ``period`` steps, and
            at 2 and 1 once in two.
        total_steps: Steps until N has grown, which goes on beyond.
        period: Steps until N halves.
        start_rate: The rate of the average that answers at r, at the start.
        is_adaptive: Whether that rate rises with N.
        sigma_min: The last level.
        sigma_max: The first.
        rho: How much denser the levels lie at the end.
    """

    start: int = 40
    end: int = 40
    growth: Growth = 'fixed'
    total_steps: int = 600_000
    period: int = 50_000
    start_rate: float = 0.95
    is_adaptive: bool = False
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if self.growth not in get_args(Growth):
            raise ValueError(f'growth is one of {", ".join(get_args(Growth))}, not {self.growth!r}')
        if self.start < 2 or not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f'scales start at 2 or more, from sigma_max down to a sigma_min above 0, not '
                f'{self.start} from {self.sigma_max} to {self.sigma_min}'
            )
        if self.growth == 'halving' and self.start & (self.start - 1):
            raise ValueError(f'scales that halve start at a power of 2, not {self.start}')

    def count(self, step: int) -> int:
        """N after so many steps."""
        if self.growth == 'fixed':
            return self.start
        if self.growth == 'halving':
            stage, to_two = step // self.period, self.start.bit_length() - 2
            return max(self.start >> min(stage, (stage + to_two) // 2), 1)
        # N(k) = ⌈√(k/K ((s₁ + 1)² - s₀²) + s₀²) - 1⌉ + 1
        grown = step / self.total_steps * ((self.end + 1) ** 2 - self.start**2) + self.start**2
        return max(math.ceil(math.sqrt(grown) - 1), 1) + 1

    def rate(self, step: int) -> float:
        """μ(k) = exp(s₀ ln μ₀ / (N(k) - 1)), or μ₀."""
        if not self.is_adaptive:
            return self.start_rate
        return math.exp(self.start * math.log(self.start_rate) / (self.count(step) - 1))

    def draw(self, count: int, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Any two neighbours, as likely as others."""
        gaps = self.count(step) - 1
        place = torch.randint(gaps, (count,), device=device)
        return self.sigma(place / gaps), self.sigma((place + 1) / gaps)

    def sigma(self, share: Tensor) -> Tensor:
        """The level after a share of the way down."""
        return edm_sigma(share, self.sigma_min, self.sigma_max, self.rho)


@dataclass(frozen=True)
class LogNormalLevels(LevelPairs):
    """Log-normal t, and r nearer to it from stage to stage (Easy Consistency Tuning, section 3).

    Args:
        P_mean: Mean of ln t.
        P_std: Standard deviation of ln t.
        q: How many times nearer r is to t in the next stage.
        k: How much farther from t it is at low t.
        b: How fast that ends as t rises.
        period: Steps of a stage.
        last_stage: The stage that lasts, the first being 0.
        sigma_min: The least t.
        sigma_max: The greatest.
    """

    P_mean: float = -1.1
    P_std: float = 2.0
    q: float = 2.0
    k: float = 8.0
    b: float = 1.0
    period: int = 10_000
    last_stage: int = 8
    sigma_min: float = 0.0
    sigma_max: float = math.inf

    def draw(self, count: int, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Levels with ln t ~ N(P_mean, P_std²), and their r."""
        t = (self.P_mean + self.P_std * torch.randn(count, device=device)).exp()
        t = t.clamp(self.sigma_min, self.sigma_max)
        return t, self.nearer(t, min(step // self.period, self.last_stage))

    def nearer(self, t: Tensor, stage: int) -> Tensor:
        """The r of t: t (1 - (1 + k σ(-b t)) / q^(stage + 1)), or 0."""
        gap = (1 + self.k * torch.sigmoid(-self.b * t)) / self.q ** (stage + 1)
        return (t * (1 - gap)).clamp(min=0)


def weights(kind: Weight, t: Tensor, r: Tensor, sigma_data: float) -> Tensor:
    """How much an error at t counts; all but the gap's follow from the signal-to-noise ratio."""
    snr = t**-2.0
    if kind == 'snr':
        return snr
    if kind == 'snr+1':
        return snr + 1
    if kind == 'karras':
        return snr + sigma_data**-2.0
    if kind == 'truncated-snr':
        return snr.clamp(min=1)
    return 1 / (t - r) if kind == 'gap' else torch.ones_like(t)
