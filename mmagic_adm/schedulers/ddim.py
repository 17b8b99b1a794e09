"""Implicit sampling: few steps, with no noise or little, and the way back from image to noise."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from mmagic_adm.diffusion import (
    Generators,
    NoiseLevel,
    NoiseSchedule,
    Prediction,
    at_least_float32,
    has_even_spacing,
)
from mmagic_adm.guidance.base import Form, Guide, Moment
from mmagic_adm.guidance.source import Gradient
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, StepNoise, landed
from mmagic_adm.schedulers.discrete import DiscreteScheduler, StepOutput, Timestep, in_type_of


@DIFFUSION_SCHEDULERS.register_module()
class DDIMScheduler(DiscreteScheduler):
    """Denoising Diffusion Implicit Models (https://arxiv.org/abs/2010.02502).

    A bare number of steps is spaced as 'ddimN' where that exists, else as 'N'. Guidance shifts
    the predicted noise.

    Args:
        num_train_timesteps: See `DiscreteScheduler`.
        beta_schedule: See `DiscreteScheduler`.
        prediction_type: See `DiscreteScheduler`.
        variance_type: Says how many channels the network has; its variance is not used.
        clip_sample: See `DiscreteScheduler`.
        rescale_timesteps: See `DiscreteScheduler`.
        eta: How much of DDPM's noise is added, from 0 (none) to 1 (all).
        rederive_eps: Take the noise from the clipped image, then guide. Otherwise guide the noise
            as the network predicts it and clip the image afterwards, as MMagic does.
    """

    short_name = 'ddim'
    guided_by = frozenset({Form.GRADIENT, Form.LANDING})

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_schedule: NoiseSchedule = 'linear',
        prediction_type: str = 'epsilon',
        variance_type: str = 'learned_range',
        clip_sample: bool = True,
        rescale_timesteps: bool = False,
        eta: float = 0.0,
        rederive_eps: bool = True,
    ) -> None:
        super().__init__(
            num_train_timesteps,
            beta_schedule,
            prediction_type,
            variance_type,
            clip_sample,
            rescale_timesteps,
        )
        if not 0 <= eta <= 1:
            raise ValueError(f'eta is between 0 and 1, not {eta}')
        self.eta = eta
        self.rederive_eps = rederive_eps

    def _respacing(self, steps: int) -> str:
        return f'ddim{steps}' if has_even_spacing(self.num_train_timesteps, steps) else str(steps)

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Equation 12 of DDIM, again and again; see `Scheduler.steps`."""
        for index in self._indices[skip:]:
            prediction = denoiser(x, self.process.level(index))
            x, x_0 = self._onwards(prediction, x, index, guidance, draw)
            x = landed(x, self._level_after(index), guidance, draw)
            yield x, x_0

    def to_noise(self, denoiser: Denoise, images: Tensor) -> Tensor:
        """The noise that images would be sampled from without more of it (DDIM, section 4.3)."""
        x = images
        for index in sorted(set(self._indices)):  # whatever the walk comes by twice
            x, _ = self._upwards(denoiser(x, self.process.level(index)), x, index)
        return x

    def step(
        self,
        model_output: Tensor,
        t: Timestep,
        sample: Tensor,
        *,
        guidance: Guide | Gradient | None = None,
        noise: Tensor | None = None,
        generator: Generators = None,
    ) -> StepOutput:
        """One step of a loop of one's own; see `DDPMScheduler.step`.

        At eta = 0 no noise is drawn, and none that is given is added.
        """
        index, guide = self._enter(model_output, t, guidance)
        x_t = at_least_float32(sample)
        prediction = self._read(model_output, x_t, index)
        draw = StepNoise(generator, None if noise is None else [noise])
        return in_type_of(sample, *self._onwards(prediction, x_t, index, guide, draw))

    def reverse_step(self, model_output: Tensor, t: Timestep, sample: Tensor) -> StepOutput:
        """One step towards the noise that ``sample`` came from, or would come from.

        Take ``timesteps`` from the last to the first. ``prev_sample`` of the result is the sample
        to go on with.
        """
        index, _ = self._enter(model_output, t)
        x_t = at_least_float32(sample)
        prediction = self._read(model_output, x_t, index)
        return in_type_of(sample, *self._upwards(prediction, x_t, index))

    def _onwards(
        self, prediction: Prediction, x_t: Tensor, index: int, guide: Guide | None, draw: StepNoise
    ) -> tuple[Tensor, Tensor]:
        """From x_t to the next level."""
        here, there = self.process.level(index), self._level_after(index)
        return self._between(prediction, x_t, here, there, guide, draw)

    def _between(
        self,
        prediction: Prediction,
        x_t: Tensor,
        here: NoiseLevel,
        there: NoiseLevel,
        guide: Guide | None,
        draw: StepNoise,
    ) -> tuple[Tensor, Tensor]:
        """From x_t to a level (DDIM, eq. 12), by algorithm 2 of ADM if there is guidance."""
        x_0, eps = self._image_and_noise(prediction, x_t, here, guide)
        # x_{t-1} ← √ᾱ_{t-1} x_0 + √(1 - ᾱ_{t-1} - σ²) eps + σ z
        if self.eta == 0:
            return there.mix(x_0, eps), x_0
        sigma = self.eta * ddpm_sigma(here, there)
        mean = there.signal * x_0 + (there.noise**2 - sigma**2) ** 0.5 * eps
        return mean + sigma * draw(x_t), x_0

    def _upwards(self, prediction: Prediction, x_t: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """From x_t to the noisier level."""
        x_0, eps = self._image_and_noise(prediction, x_t, self.process.level(index), None)
        return self.process.level(index + 1).mix(x_0, eps), x_0

    def _level_after(self, index: int) -> NoiseLevel:
        return self.process.level(index - 1)

    def _image_and_noise(
        self, prediction: Prediction, x_t: Tensor, level: NoiseLevel, guide: Guide | None
    ) -> tuple[Tensor, Tensor]:
        """The image and the noise that the step moves between."""
        x_0 = prediction.x_0
        eps = level.eps(x_t, x_0) if self.rederive_eps else prediction.eps
        if guide is None or Form.GRADIENT not in guide.forms:
            return x_0, eps
        eps = guide.shift_eps(Moment(x_t, level, x_0), eps)
        x_0 = level.x_0(x_t, eps)
        if self.clip_sample and not self.rederive_eps:
            x_0 = x_0.clamp(-1, 1)
        return x_0, eps


def ddpm_sigma(here: NoiseLevel, there: NoiseLevel) -> float:
    """The standard deviation of DDPM's noise between two levels (DDIM, eq. 16)."""
    ratio = there.noise / here.noise
    return float(ratio * (1 - here.signal**2 / there.signal**2) ** 0.5)
