"""What the schedulers that walk over the timesteps of a discrete process share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from mmagic_adm.denoisers import check_finite
from mmagic_adm.diffusion import GaussianDiffusion, NoiseSchedule, Prediction
from mmagic_adm.guidance.base import Guide, Path
from mmagic_adm.guidance.source import Gradient, as_guide
from mmagic_adm.schedulers.base import Scheduler

Timestep = int | float | Tensor


class StepOutput(NamedTuple):
    """Where a step leads to, and the image that it heads for."""

    prev_sample: Tensor
    pred_original_sample: Tensor


class DiscreteScheduler(Scheduler):
    """A scheduler over timesteps of the process that a network is trained on.

    Args:
        num_train_timesteps: Timesteps that the network is trained on.
        beta_schedule: 'linear', 'cosine', another of ``NOISE_SCHEDULES``, or the betas.
        prediction_type: What the network predicts: 'epsilon', 'start_x' or 'previous_x'.
        variance_type: 'learned_range', 'learned', 'fixed_large' or 'fixed_small'.
        clip_sample: Keep the predicted image within [-1, 1].
        rescale_timesteps: Tell the network timesteps scaled to a process of 1000.

    Attributes:
        process: The process that is walked, over the timesteps of ``set_timesteps``.
        full_process: The same over every timestep.
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_schedule: NoiseSchedule = 'linear',
        prediction_type: str = 'epsilon',
        variance_type: str = 'learned_range',
        clip_sample: bool = True,
        rescale_timesteps: bool = False,
    ) -> None:
        self.full_process = GaussianDiffusion(
            beta_schedule,
            num_train_timesteps,
            prediction_type=prediction_type,
            variance_type=variance_type,
            rescale_timesteps=rescale_timesteps,
        )
        self.process = self.full_process
        self.clip_sample = clip_sample

    @property
    def num_train_timesteps(self) -> int:
        """Timesteps that the network is trained on."""
        return self.full_process.num_train_timesteps

    @property
    def timesteps(self) -> list[Any]:
        """The timestep that each step starts from, noisiest first."""
        return [level.timestep for level in self.levels]

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps.

        Args:
            spec: '250', 'ddim25' or '10,15,20', see `space_timesteps`; or a number, which is
                exactly that many steps; or ``None`` for all.
        """
        respacing = self._respacing(spec) if isinstance(spec, int) else spec
        self._walk_over(self.full_process.respaced(respacing))

    def _respacing(self, steps: int) -> str:
        """The spec that a bare number of steps stands for."""
        return str(steps)

    def _walk_over(self, process: GaussianDiffusion, indices: Sequence[int] | None = None) -> None:
        """Takes a step from each timestep of a process, or from some of them, smallest first."""
        self.process = process
        self._indices = list(range(process.num_timesteps) if indices is None else indices)[::-1]
        self.levels = [process.level(index) for index in self._indices]

    def process_walked(self, process: GaussianDiffusion) -> GaussianDiffusion:
        """The timesteps of a process that are walked, for networks that know these alone."""
        is_whole = self.process is self.full_process
        return process if is_whole else process.keeping(self.process.timesteps)

    def network_timestep(self, t: Timestep) -> int | float:
        """What the network is told at an entry of ``timesteps``."""
        return as_number(t) * self.full_process.timestep_scale

    def _enter(
        self, model_output: Tensor, t: Timestep, guidance: Guide | Gradient | None = None
    ) -> tuple[int, Guide | None]:
        """The index of ``t`` in the process and what guides there, once both make sense."""
        timesteps, t = self.timesteps, as_number(t)
        if t not in timesteps:
            raise ValueError(
                f't={t} is not one of the {len(timesteps)} timesteps from {timesteps[0]} to '
                f'{timesteps[-1]}'
            )
        place = timesteps.index(t)
        path = Path(self.levels, self.full_process)
        guide = as_guide(guidance, path, model_output.device)
        check_finite(model_output, f't={t} (timestep {place + 1} of {len(timesteps)})')
        return self._indices[place], guide

    def _read(self, model_output: Tensor, x_t: Tensor, index: int) -> Prediction:
        """What a network's output means, clipped if it is to be."""
        prediction = self.process.read(model_output, x_t, index)
        return prediction.clipped() if self.clip_sample else prediction


def as_number(t: Timestep) -> int | float:
    """A timestep as a plain number, whether it comes as one, from NumPy or in a tensor."""
    return t.item() if hasattr(t, 'item') else t


def in_type_of(sample: Tensor, prev_sample: Tensor, pred_x0: Tensor) -> StepOutput:
    """The output of a step, in the type that its sample came in."""
    return StepOutput(prev_sample.to(sample.dtype), pred_x0.to(sample.dtype))
