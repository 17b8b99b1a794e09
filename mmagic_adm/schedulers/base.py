"""What every scheduler offers, and what those that walk a `GaussianDiffusion` share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mmagic_adm.diffusion import (
    GaussianDiffusion,
    Generators,
    NoiseLevel,
    NoiseSchedule,
    at_least_float32,
    randn_like_samples,
)
from mmagic_adm.schedulers.guided import Guidance, GuidanceEntrance, check_guidance, guided_eps

Timestep = int | float | torch.Tensor


@dataclass(frozen=True)
class StepOutput:
    """Where a step leads to, and the image that it heads for."""

    prev_sample: torch.Tensor
    pred_original_sample: torch.Tensor


class Scheduler(ABC):
    """Walks from noise to an image, one network call after the other.

    A sampling loop, whatever the scheduler::

        scheduler.set_timesteps(25)
        sample = scheduler.init_noise(noise)
        for t in scheduler.timesteps:
            sample = scheduler.prepare(sample, t)
            x_t = scheduler.network_input(sample, t)
            timesteps = torch.full((len(sample),), scheduler.network_timestep(t))
            sample = scheduler.step(network(x_t, timesteps), t, sample).prev_sample
    """

    guidance_enters: GuidanceEntrance

    def __init__(self) -> None:
        self._timesteps: Sequence[int | float] = ()

    @property
    def timesteps(self) -> Sequence[int | float]:
        """The timesteps to call ``step`` with, in that order."""
        if not self._timesteps:
            raise RuntimeError(f'{type(self).__name__} has no timesteps: call set_timesteps first')
        return self._timesteps

    @abstractmethod
    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps: a number of them, or a spec in the family's language."""

    @abstractmethod
    def network_timestep(self, t: Timestep) -> int | float:
        """What the network is told at an entry of ``timesteps``."""

    @property
    def guidance_timesteps(self) -> list[float]:
        """What guidance is told at each entry of ``timesteps``."""
        return [self.network_timestep(t) for t in self.timesteps]

    def init_noise(self, noise: torch.Tensor) -> torch.Tensor:
        """The sample to start from, made of standard normal noise."""
        return noise

    def network_input(self, sample: torch.Tensor, t: Timestep) -> torch.Tensor:
        """What the network is shown of a sample."""
        return sample

    def prepare(
        self,
        sample: torch.Tensor,
        t: Timestep,
        *,
        guidance: Guidance | None = None,
        generator: Generators = None,
    ) -> torch.Tensor:
        """The sample that a step starts from, where the scheduler changes it before the network.

        Args:
            sample: The sample so far.
            t: The entry of ``timesteps`` whose turn it is.
            guidance: As for `step`.
            generator: As for `step`.
        """
        return sample

    @abstractmethod
    def step(
        self,
        model_output: torch.Tensor,
        t: Timestep,
        sample: torch.Tensor,
        *,
        guidance: Guidance | None = None,
        noise: torch.Tensor | None = None,
        generator: Generators = None,
    ) -> StepOutput:
        """One step towards the image.

        Args:
            model_output: What the network said about the sample.
            t: The entry of ``timesteps`` whose turn it is.
            sample: The sample so far, (N, C, ...), in any floating-point type.
            guidance: A push in some direction, see `mmagic_adm.schedulers.guided`.
            noise: The standard normal noise for this step, instead of drawing it.
            generator: What the noise is drawn from, see `randn_samples`.

        Returns:
            The next sample and the predicted image, in the sample's type.
        """


class DiscreteScheduler(Scheduler):
    """A scheduler for networks that are trained on a discrete process.

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
        super().__init__()
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

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps.

        Args:
            spec: '250', 'ddim25' or '10,15,20', see `space_timesteps`; or a number, which is
                exactly that many steps; or ``None`` for all.
        """
        respacing = self._respacing(spec) if isinstance(spec, int) else spec
        self._walk(self.full_process.respaced(respacing))

    def _respacing(self, steps: int) -> str:
        """The spec that a bare number of steps stands for."""
        return str(steps)

    def _walk(self, process: GaussianDiffusion) -> None:
        self.process = process
        self._timesteps = process.timesteps[::-1]
        self._index: dict[int | float, int] = {t: i for i, t in enumerate(process.timesteps)}

    def network_timestep(self, t: Timestep) -> int | float:
        """What the network is told at an entry of ``timesteps``."""
        return as_number(t) * self.full_process.timestep_scale

    def _enter(
        self, model_output: torch.Tensor, t: Timestep, guidance: Guidance | None = None
    ) -> int:
        """The index of ``t`` in the process, once the input of a step is seen to make sense."""
        timesteps, t = self.timesteps, as_number(t)
        if t not in self._index:
            raise ValueError(
                f't={t} is not one of the {len(timesteps)} timesteps from {timesteps[0]} to '
                f'{timesteps[-1]}'
            )
        if guidance is not None:
            check_guidance(guidance, self.guidance_enters, type(self).__name__)
        where = f't={t} (timestep {timesteps.index(t) + 1} of {len(timesteps)})'
        check_finite(model_output, where)
        return self._index[t]

    def _guided_parts(
        self,
        pred_x0: torch.Tensor,
        x_t: torch.Tensor,
        t: Timestep,
        level: NoiseLevel,
        guidance: Guidance | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The image and the noise in x_t: the predicted one and what it implies, under guidance."""
        eps = level.eps(x_t, pred_x0)
        if guidance is None:
            return pred_x0, eps
        timesteps = self._batch_timesteps(t, x_t)
        eps = guided_eps(guidance, x_t, timesteps, pred_x0, eps, float(level.alpha_bar))
        return level.x_0(x_t, eps), eps

    def _batch_timesteps(self, t: Timestep, x_t: torch.Tensor) -> torch.Tensor:
        """What the network was called with, for guidance."""
        # One number expanded: networks see by it that their samples share it.
        return torch.as_tensor(self.network_timestep(t), device=x_t.device).expand(len(x_t))


def as_number(t: Timestep) -> int | float:
    """A timestep as a plain number, whether it comes as one, from NumPy or in a tensor."""
    return t.item() if hasattr(t, 'item') else t


def check_finite(model_output: torch.Tensor, where: str) -> None:
    """Refuses NaN and infinity; one reduction and one wait where there are none."""
    total = model_output.sum(dtype=torch.promote_types(model_output.dtype, torch.float32))
    if total.isfinite():
        return
    broken = (~model_output.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise FloatingPointError(
            f'The model output at {where} holds NaN or infinity (samples {broken} of the batch of '
            f'{len(model_output)}); a smaller guidance scale may help, or float32 in place of half '
            "precision (profile='exact')"
        )


def step_noise(
    x_t: torch.Tensor, noise: torch.Tensor | None, generator: Generators
) -> torch.Tensor:
    """The noise of a step: the one that is given, or a new draw."""
    if noise is None:
        return randn_like_samples(x_t, generator)
    if noise.shape != x_t.shape:
        raise ValueError(f'Noise of shape {(*noise.shape,)} for a sample of {(*x_t.shape,)}')
    return at_least_float32(noise)


def in_type_of(
    sample: torch.Tensor, prev_sample: torch.Tensor, pred_x0: torch.Tensor
) -> StepOutput:
    """The output of a step, in the type that its sample came in."""
    return StepOutput(prev_sample.to(sample.dtype), pred_x0.to(sample.dtype))
