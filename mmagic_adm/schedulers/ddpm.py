"""Ancestral sampling, the reverse of the process as it was trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mmagic_adm.diffusion import Generators, Prediction, at_least_float32
from mmagic_adm.guidance.base import Form, Guide, Moment, StochasticStep
from mmagic_adm.guidance.source import Gradient
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, StepNoise, landed
from mmagic_adm.schedulers.discrete import DiscreteScheduler, StepOutput, Timestep, in_type_of


@DIFFUSION_SCHEDULERS.register_module()
class DDPMScheduler(DiscreteScheduler):
    """Denoising Diffusion Probabilistic Models (https://arxiv.org/abs/2006.11239).

    Fewer steps than the network was trained on walk the respaced process of Improved DDPM.
    Guidance shifts the mean. The arguments are those of `DiscreteScheduler`.
    """

    short_name = 'ddpm'
    guided_by = frozenset({Form.GRADIENT, Form.STEP, Form.LANDING})

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 2 of DDPM; see `Scheduler.steps`."""
        for index in self._indices[skip:]:
            prediction = denoiser(x, self.process.level(index))
            x, x_0 = self._back(prediction, x, index, guidance, draw)
            x = landed(x, self.process.level(index - 1), guidance, draw)
            yield x, x_0

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
        """One step of a loop of one's own.

        Args:
            model_output: What the network said about the sample.
            t: The entry of ``timesteps`` whose turn it is.
            sample: The sample so far, (N, C, ...), in any floating-point type.
            guidance: As for `Scheduler.walk`.
            noise: The standard normal noise for this step, instead of drawing it.
            generator: What the noise is drawn from, see `randn_samples`.

        Returns:
            The next sample and the predicted image, in the sample's type.
        """
        index, guide = self._enter(model_output, t, guidance)
        x_t = at_least_float32(sample)
        prediction = self._read(model_output, x_t, index)
        draw = StepNoise(generator, None if noise is None else [noise])
        return in_type_of(sample, *self._back(prediction, x_t, index, guide, draw))

    def _back(
        self, prediction: Prediction, x_t: Tensor, index: int, guide: Guide | None, draw: StepNoise
    ) -> tuple[Tensor, Tensor]:
        """From x_t to x_{t-1}, with algorithm 1 of ADM where there is guidance."""
        step = self._stochastic_step(prediction, x_t, index, draw)
        # x_{t-1} ← μ + √Σ z
        x = step.mean + step.noise if guide is None else guide.settle(step)
        return x, step.moment.x_0

    def _stochastic_step(
        self, prediction: Prediction, x_t: Tensor, index: int, draw: StepNoise
    ) -> StochasticStep:
        """What x_{t-1} is the sum of.

        Noise is drawn in the last step too, where none is added, so that a sample's stream of
        random numbers advances alike in every step.
        """
        # z ~ N(0, I)
        z = draw(x_t)
        # μ, Σ ← μ_θ(x_t), Σ_θ(x_t)
        p = self.process.reverse(prediction, x_t, index)
        noise = (p.log_variance / 2).exp() * z if index > 0 else torch.zeros_like(z)
        moment = Moment(x_t, self.process.level(index), p.pred_x0)
        share = self.process.image_share(index, x_t)
        return StochasticStep(moment, p.mean, p.variance, p.variance, noise, share, draw)
