"""What MMagic's schedulers have in common: how they space steps, are guided, and answer."""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from mmagic_adm.diffusion import GaussianDiffusion, noise_schedule, space_timesteps
from mmagic_adm.diffusion.noise_schedules import Array, scaled_linear_betas
from mmagic_adm.guidance import Gradient, Guide
from mmagic_adm.schedulers import DDPMScheduler
from mmagic_adm.schedulers.discrete import DiscreteScheduler, Timestep, as_number


class StepDict(dict):
    """MMagic's result of a step, which answers to the names of `StepOutput` too."""

    @property
    def prev_sample(self) -> Tensor:
        """Where the step leads to."""
        return self['prev_sample']

    @property
    def pred_original_sample(self) -> Tensor:
        """The image that it heads for."""
        return self['original_sample']


def mmagic_betas(schedule: str, num_timesteps: int, start: float, end: float) -> Array:
    """MMagic's noise schedules, whose linear ones end where they are told to."""
    if schedule == 'linear':
        return np.linspace(start, end, num_timesteps, dtype=np.float64)
    if schedule == 'scaled_linear':
        return scaled_linear_betas(num_timesteps, start, end)
    return noise_schedule(schedule, num_timesteps)


def mmagic_timesteps(num_train_timesteps: int, spec: str | int | None) -> list[int]:
    """Every k-th timestep, k the whole part of the ratio: at times more than are asked for.

    What is not a bare number is read as in `space_timesteps`.
    """
    if not isinstance(spec, int):
        return space_timesteps(num_train_timesteps, spec)
    if not 1 <= spec <= num_train_timesteps:
        raise ValueError(f'Cannot take {spec} steps on {num_train_timesteps} timesteps')
    kept = list(range(0, num_train_timesteps, num_train_timesteps // spec))
    if len(kept) != spec:
        warnings.warn(
            f"{spec} steps become {len(kept)}, as MMagic's schedulers space them; DDIMScheduler "
            f'and DDPMScheduler take exactly {spec}',
            stacklevel=3,
        )
    return kept


def one_guidance(
    guidance: Guide | Gradient | None,
    cond_fn: Callable | None,
    cond_kwargs: Mapping | None,
    scheduler: DiscreteScheduler,
    timestep: Timestep,
) -> Guide | Gradient | None:
    """Guidance in this package's form, in whichever form it is given.

    Of MMagic's, ``classifier_grad``, and anything in DDPM, is called with the classifier, the
    sample and the timestep, ``y`` and ``classifier_scale``; other functions as Disco Diffusion's.
    """
    if cond_fn is None:
        return guidance
    if guidance is not None:
        raise ValueError('Give guidance or cond_fn, not both')
    kwargs, t = dict(cond_kwargs or {}), as_number(timestep)
    if (
        isinstance(scheduler, DDPMScheduler)
        or getattr(cond_fn, '__name__', '') == 'classifier_grad'
    ):
        options = {name: kwargs[name] for name in ('y', 'classifier_scale')}
        return lambda x_t, *_: cond_fn(kwargs['classifier'], x_t, t, **options)
    unet, model_stats = kwargs.pop('unet'), kwargs.pop('model_stats')

    def guidance_of_disco(x_t: Tensor, *_: Tensor) -> Tensor:
        beta_bar = float(scheduler.full_process.level(int(t)).noise) ** 2
        return cond_fn(unet, scheduler, x_t, timestep, beta_bar, model_stats, **kwargs)

    return guidance_of_disco


def changed(process: GaussianDiffusion, **attributes: Any) -> GaussianDiffusion:
    """The process with other attributes."""
    process = copy.copy(process)
    vars(process).update(attributes)
    return process


class MMagicMembers:
    """What else MMagic's schedulers have that code written for them may use."""

    full_process: GaussianDiffusion
    init_noise_sigma = 1.0
    num_inference_steps: int | None = None

    def __len__(self) -> int:
        return self.full_process.num_train_timesteps

    @property
    def betas(self) -> Array:
        """Of the whole process."""
        return self.full_process.betas

    @property
    def alphas_cumprod(self) -> Array:
        """Of the whole process."""
        return self.full_process.train_alphas_cumprod

    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """The sample as it is."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: int | Tensor) -> Tensor:
        """q(x_t | x_0) at timesteps of the whole process."""
        return self.full_process.add_noise(original_samples, timesteps, noise)
