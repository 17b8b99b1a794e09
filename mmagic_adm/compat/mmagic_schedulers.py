"""MMagic's own schedulers, by their names and with their arguments.

They are what MMagic's configs and published figures of this family were made with. Their ``step``
can be called in MMagic's way, whose results are dicts, and like that of any scheduler here.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.compat.mmagic_stepping import (
    MMagicMembers,
    StepDict,
    changed,
    mmagic_betas,
    mmagic_timesteps,
    one_guidance,
)
from mmagic_adm.diffusion import (
    GaussianDiffusion,
    Generators,
    NoiseLevel,
    Prediction,
    at_least_float32,
)
from mmagic_adm.diffusion.noise_schedules import Array
from mmagic_adm.guidance import Gradient, Guide, Moment, StochasticStep
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler, StepNoise
from mmagic_adm.schedulers.ddim import ddpm_sigma
from mmagic_adm.schedulers.discrete import Timestep


@DIFFUSION_SCHEDULERS.register_module()
class EditDDIMScheduler(MMagicMembers, DDIMScheduler):
    """MMagic's DDIM: eps stays as predicted, x_0 is clipped last, and steps are strided.

    Args:
        num_train_timesteps: Timesteps that the network is trained on.
        beta_start: First beta of the linear schedules.
        beta_end: Last beta of the linear schedules.
        beta_schedule: 'linear', 'scaled_linear' or 'squaredcos_cap_v2'.
        variance_type: With 'learned' and 'learned_range' a network may have the variance's
            channels, which are not used.
        timestep_values: Not used by MMagic either; anything but ``None`` warns.
        clip_sample: Keep the predicted image within [-1, 1].
        set_alpha_to_one: The last step leads to the clean image, not to the first noise level.
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = 'linear',
        variance_type: str = 'learned_range',
        timestep_values: Sequence[int] | None = None,
        clip_sample: bool = True,
        set_alpha_to_one: bool = True,
    ) -> None:
        if timestep_values is not None:
            warnings.warn('timestep_values has no effect, as in MMagic', stacklevel=2)
        super().__init__(
            num_train_timesteps,
            mmagic_betas(beta_schedule, num_train_timesteps, beta_start, beta_end),
            variance_type=variance_type,
            clip_sample=clip_sample,
            rederive_eps=False,
        )
        self.set_alpha_to_one = set_alpha_to_one

    def set_timesteps(self, num_inference_steps: str | int | None, offset: int = 0) -> None:
        """Decides on the steps, see `mmagic_timesteps`; ``offset`` is added to each of them."""
        kept = mmagic_timesteps(self.num_train_timesteps, num_inference_steps)
        if not 0 <= offset < self.num_train_timesteps - kept[-1]:
            raise ValueError(
                f'offset={offset} moves timesteps {kept[0]} to {kept[-1]} out of the '
                f'{self.num_train_timesteps} that there are'
            )
        self._walk_over(self.full_process.keeping([t + offset for t in kept]))
        self.num_inference_steps = len(kept)

    def step(  # type: ignore[override]
        self,
        model_output: Tensor | Mapping[str, Tensor],
        timestep: Timestep,
        sample: Tensor,
        cond_fn: Callable | None = None,
        cond_kwargs: Mapping | None = None,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators = None,
        *,
        guidance: Guide | Gradient | None = None,
        noise: Tensor | None = None,
    ) -> StepDict:
        """One step towards the image.

        Args:
            model_output: What the network said; or a dict of its ``eps`` and of the image ``pred``
                that stands for the predicted one where there is no guidance.
            timestep: The entry of ``timesteps`` whose turn it is.
            sample: The sample so far.
            cond_fn: MMagic's guidance, see `one_guidance`.
            cond_kwargs: What ``cond_fn`` is called with.
            eta: How much of DDPM's noise is added.
            use_clipped_model_output: Take the noise from the clipped image.
            generator: What the noise is drawn from, see `randn_samples`.
            guidance: Guidance in this package's form.
            noise: The standard normal noise for this step, instead of drawing it.

        Returns:
            ``prev_sample``, its ``mean`` and ``sigma``, ``original_sample`` and ``beta_prod_t``.
        """
        pred = None
        if not isinstance(model_output, Tensor):
            pred = model_output['pred']
            model_output = model_output['eps']
        given = one_guidance(guidance, cond_fn, cond_kwargs, self, timestep)
        index, guide = self._enter(model_output, timestep, given)
        x_t = at_least_float32(sample)
        here, there = self.process.level(index), self._level_after(index)
        prediction = self._read(model_output, x_t, index)
        x_0, eps = self._image_and_noise(prediction, x_t, here, guide)
        if pred is not None and guide is None:
            x_0 = pred.clamp(-1, 1) if self.clip_sample else pred
        if use_clipped_model_output:
            eps = here.eps(x_t, x_0)
        sigma = eta * ddpm_sigma(here, there)
        mean = there.signal * x_0 + (there.noise**2 - sigma**2) ** 0.5 * eps
        draw = StepNoise(generator, None if noise is None else [noise])
        prev_sample = mean + sigma * draw(x_t) if eta > 0 else mean
        return StepDict(
            prev_sample=prev_sample.to(sample.dtype),
            mean=mean.to(sample.dtype),
            sigma=sigma,
            original_sample=x_0.to(sample.dtype),
            beta_prod_t=float(here.noise) ** 2,
        )

    def process_for(self, network: Any) -> GaussianDiffusion:
        """The process; a network may lack the channels of the variance, as in MMagic."""
        has_variance = network.out_channels != network.in_channels
        if has_variance:
            return self.full_process
        return changed(self.full_process, variance_type='fixed_small')

    def _read(self, model_output: Tensor, x_t: Tensor, index: int) -> Prediction:
        if model_output.shape == x_t.shape:
            process = changed(self.process, variance_type='fixed_small')
            prediction = process.read(model_output, x_t, index)
            return prediction.clipped() if self.clip_sample else prediction
        return super()._read(model_output, x_t, index)

    def _level_after(self, index: int) -> NoiseLevel:
        if index == 0 and not self.set_alpha_to_one:
            return self.full_process.level(0)
        return super()._level_after(index)


@DIFFUSION_SCHEDULERS.register_module()
class EditDDPMScheduler(MMagicMembers, DDPMScheduler):
    """MMagic's DDPM: one step of the whole process at each timestep that is taken.

    Fewer steps than the network was trained on therefore leave noise in the image. Guidance is
    scaled by the standard deviation of the step, not by its variance. The arguments are those of
    `EditDDIMScheduler`, and these.

    Args:
        trained_betas: The betas themselves, instead of a schedule.
        variance_type: 'fixed_small', 'fixed_large', 'learned_range', or 'learned' for networks
            that say the variance itself.
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = 'linear',
        trained_betas: Sequence[float] | Array | None = None,
        variance_type: str = 'fixed_small',
        clip_sample: bool = True,
    ) -> None:
        if variance_type in ('fixed_small_log', 'fixed_large_log'):
            raise ValueError(
                f"variance_type={variance_type!r} gives NaN in MMagic, which takes a logarithm's "
                f'square root: use {variance_type.removesuffix("_log")!r}'
            )
        if trained_betas is None:
            trained_betas = mmagic_betas(beta_schedule, num_train_timesteps, beta_start, beta_end)
        super().__init__(
            num_train_timesteps, trained_betas, variance_type=variance_type, clip_sample=clip_sample
        )
        self._walk_over(self.full_process)

    def set_timesteps(self, num_inference_steps: str | int | None) -> None:
        """Decides on the steps, see `mmagic_timesteps`."""
        total = self.num_train_timesteps
        if isinstance(num_inference_steps, int):
            num_inference_steps = min(num_inference_steps, total)
        kept = mmagic_timesteps(total, num_inference_steps)
        if len(kept) < total:
            warnings.warn(
                f'EditDDPMScheduler takes {len(kept)} steps of a process of {total}, as MMagic '
                'does, which leaves noise in the images; DDPMScheduler takes fewer and longer ones',
                stacklevel=2,
            )
        self._walk_over(self.full_process, kept)
        self.num_inference_steps = len(kept)

    def step(  # type: ignore[override]
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        predict_epsilon: bool = True,
        cond_fn: Callable | None = None,
        cond_kwargs: Mapping | None = None,
        generator: Generators = None,
        *,
        guidance: Guide | Gradient | None = None,
        noise: Tensor | None = None,
    ) -> StepDict:
        """One step towards the image, see `EditDDIMScheduler.step`.

        ``predict_epsilon`` says that the network predicts the noise, not the image. The result has
        ``prev_sample``, its ``mean`` before guidance, ``sigma``, ``noise``, ``original_sample``.
        """
        given = one_guidance(guidance, cond_fn, cond_kwargs, self, timestep)
        index, guide = self._enter(model_output, timestep, given)
        x_t = at_least_float32(sample)
        said = 'epsilon' if predict_epsilon else 'start_x'
        process = changed(self.full_process, prediction_type=said)
        prediction = process.read(model_output, x_t, index)
        if self.clip_sample:
            prediction = prediction.clipped()
        z = StepNoise(generator, None if noise is None else [noise])(x_t)
        step = self._stochastic_step(prediction, x_t, index, StepNoise(given=[z]))
        mean = step.mean + step.noise if guide is None else guide.settle(step)
        return StepDict(
            prev_sample=mean.to(sample.dtype),
            mean=step.mean.to(sample.dtype),
            sigma=step.weight,
            noise=z,
            original_sample=step.moment.x_0.to(sample.dtype),
        )

    def _stochastic_step(
        self, prediction: Prediction, x_t: Tensor, index: int, draw: StepNoise
    ) -> StochasticStep:
        """MMagic's step: a learned variance is taken for its own logarithm."""
        p = self.full_process.reverse(prediction, x_t, index)
        if self.full_process.variance_type == 'learned':
            p = p._replace(variance=p.log_variance)
        sigma = p.variance.sqrt() if index > 0 else torch.zeros_like(x_t)
        moment = Moment(x_t, self.full_process.level(index), p.pred_x0)
        share = self.full_process.image_share(index, x_t)
        return StochasticStep(moment, p.mean, p.variance, sigma, sigma * draw(x_t), share, draw)
