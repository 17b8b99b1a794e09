"""Exponential moving averages of the weights, at one rate or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import Runner
from torch import nn

from mmagic_adm.networks.network import own_share
from mmagic_adm.registry import HOOKS, MODELS


@MODELS.register_module()
class MovingAverage(ExponentialMovingAverage):
    """MMEngine's moving average, which takes all parameters a step further in one call.

    ``momentum`` is the share that a step takes from the weights, 1 - rate.
    """

    def __init__(self, model: nn.Module, momentum: float, ramp_up: float | None = None) -> None:
        super().__init__(model, momentum)
        self.ramp_up = ramp_up

    def momentum_after(self, steps: int) -> float:
        """The share that the next step takes from the weights, after so many, one at least."""
        if self.ramp_up is None:
            return self.momentum
        # A rate of half-life H keeps half of an average for H steps: rate ** H = 1 / 2.
        return max(self.momentum, 1 - 0.5 ** (1 / (self.ramp_up * steps)))

    def update_parameters(self, model: nn.Module) -> None:
        """Takes the average a step further; the first step is to the weights themselves."""
        averages = own_share(self.module.parameters())
        weights = own_share(model.parameters())
        if self.steps == 0:
            torch._foreach_copy_(averages, weights)
        else:
            torch._foreach_lerp_(averages, weights, self.momentum_after(int(self.steps)))
        for average, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
        self.steps += 1


@MODELS.register_module()
class PowerFunctionAverage(MovingAverage):
    """An average as long as the training so far, which weighs weights by a power of their time.

    Args:
        model: What is averaged.
        std: Relative standard deviation of the times that it weighs, which is its width as a share
            of the training (EDM2, eq. 123).
    """

    def __init__(self, model: nn.Module, std: float) -> None:
        self.exponent = exponent_of(std)
        super().__init__(model, momentum=0.5)  # which is not used

    def momentum_after(self, steps: int) -> float:
        """The share that the next step takes from the weights, 1 - β(t) (EDM2, eq. 127)."""
        return 1 - (1 - 1 / (steps + 1)) ** (self.exponent + 1)


def exponent_of(std: float) -> float:
    """The γ of the power-function average with a relative standard deviation.

    Raises:
        ValueError: None has that.
    """
    if not 0 < std <= 12**-0.5:
        raise ValueError(f'a power-function average has a width above 0, up to 0.288, not {std}')
    # σ² = (γ + 1) / ((γ + 2)² (γ + 3)) (EDM2, eq. 123); with n = γ + 2, n³ + n² = (n - 1) / σ².
    return float(np.roots([1, 1, -(std**-2), std**-2]).real.max()) - 2


@HOOKS.register_module()
class MovingAverages(EMAHook):
    """MMEngine's EMAHook for several rates, which counts the optimiser's steps.

    The averages start from the weights after the first step; each step after that takes them to
    ``rate * average + (1 - rate) * weights``. Where gradients are accumulated, iterations that
    take no step do not count.

    Args:
        rates: Of the averages. The first is what is validated, and saved as the model's own.
        stds: Widths of power-function averages to have besides; what is of one and of another
            makes that of any width later: see :func:`posthoc_average`. 0.05 and 0.1 in EDM2.
        ramp_up: An average's half-life is at most this share of the steps so far, so that it
            forgets the beginning as long as it is young: 0.05 in EDM. None lets it be.
    """

    def __init__(
        self,
        rates: Sequence[float] = (0.9999,),
        ramp_up: float | None = None,
        stds: Sequence[float] = (),
    ) -> None:
        if not rates or not all(0 < rate < 1 for rate in rates):
            raise ValueError(f'rates of moving averages are above 0 and below 1, not {rates}')
        if ramp_up is not None and ramp_up <= 0:
            raise ValueError(f'ramp_up is a share of the steps so far, above 0, not {ramp_up}')
        super().__init__('MovingAverage', strict_load=True, momentum=1 - rates[0], ramp_up=ramp_up)
        self.other_rates, self.stds = tuple(rates[1:]), tuple(stds)
        for std in stds:
            exponent_of(std)  # refuses one that is none
        self.ramp_up = ramp_up

    def before_run(self, runner: Runner) -> None:
        """Makes the averages."""
        super().before_run(runner)
        self.others: dict[str, MovingAverage] = {
            str(rate): MovingAverage(self.src_model, 1 - rate, self.ramp_up)
            for rate in self.other_rates
        }
        self.others |= {
            f'std={std}': PowerFunctionAverage(self.src_model, std) for std in self.stds
        }

    def after_sharding(self, runner: Runner, shard: Callable[[nn.Module], None]) -> None:
        """Shares the averages out as the model's own weights are, where they are."""
        for average in (self.ema_model, *self.others.values()):
            shard(average.module)

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Takes the averages a step further."""
        if runner.optim_wrapper.should_update():
            for average in (self.ema_model, *self.others.values()):
                average.update_parameters(self.src_model)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the averages."""
        super().before_save_checkpoint(runner, checkpoint)
        checkpoint['other_averages'] = {
            rate: average.state_dict() for rate, average in self.others.items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Takes up the averages."""
        super().after_load_checkpoint(runner, checkpoint)
        stored = checkpoint.get('other_averages', {}) if runner._resume else {}
        for rate, average in self.others.items():
            # An average that is new starts from the first.
            average.load_state_dict(stored.get(rate, self.ema_model.state_dict()))
