"""The diffusion process: what noise does to an image, and what one step back looks like."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mmagic_adm.arguments import whole
from mmagic_adm.diffusion.noise_level import CLEAN, PURE_NOISE, NoiseLevel
from mmagic_adm.diffusion.noise_schedules import Array, NoiseSchedule, noise_schedule
from mmagic_adm.diffusion.prediction import LearnedVariance, Prediction
from mmagic_adm.diffusion.randomness import at_least_float32
from mmagic_adm.diffusion.respacing import space_timesteps
from mmagic_adm.diffusion.tables import Coefficient, interpolate, process_tables

PREDICTION_TYPES = ('epsilon', 'start_x', 'previous_x')
LEARNED_VARIANCES = ('learned_range', 'learned')
VARIANCE_TYPES = (*LEARNED_VARIANCES, 'fixed_large', 'fixed_small')


class GaussianDistribution(NamedTuple):
    """A normal distribution over images whose elements are independent."""

    mean: torch.Tensor
    variance: torch.Tensor
    log_variance: torch.Tensor


class ReverseDistribution(NamedTuple):
    """p(x_{t-1} | x_t), and the x_0 that it heads for."""

    mean: torch.Tensor
    variance: torch.Tensor
    log_variance: torch.Tensor
    pred_x0: torch.Tensor


class GaussianDiffusion:
    """A diffusion process over all or some of the timesteps that a network is trained on.

    Every ``t`` is an index into ``timesteps``, 0 the least noisy: one number for the whole batch,
    or a tensor of shape (N,) with one for each sample. Half-precision input is calculated with in
    float32, and the results stay in that.

    Args:
        beta_schedule: A name in ``NOISE_SCHEDULES``, or the betas themselves.
        num_train_timesteps: Timesteps of the process that the network is trained on.
        respacing: Which of those this process walks over, in the language of `space_timesteps`.
        prediction_type: What the network predicts: 'epsilon', 'start_x' or 'previous_x'.
        variance_type: The variance of a step back. 'learned_range' and 'learned' read it from a
            second half of the network's channels, as a place between the two fixed ones or as its
            logarithm. 'fixed_large' is beta, 'fixed_small' the posterior's.
        rescale_timesteps: Call the network with timesteps scaled to a process of 1000.

    Attributes:
        timesteps: The original process's timesteps that are kept, smallest first.
        betas: The variance that a step between two kept timesteps adds, float64.
    """

    timesteps: list[int]
    betas: Array

    def __init__(
        self,
        beta_schedule: NoiseSchedule = 'linear',
        num_train_timesteps: int = 1000,
        respacing: str | int | Sequence[int] | None = None,
        prediction_type: str = 'epsilon',
        variance_type: str = 'learned_range',
        rescale_timesteps: bool = False,
    ) -> None:
        _check_choice('prediction_type', prediction_type, PREDICTION_TYPES)
        _check_choice('variance_type', variance_type, VARIANCE_TYPES)
        self.num_train_timesteps = whole(num_train_timesteps, 'num_train_timesteps is from 1 on')
        self.prediction_type = prediction_type
        self.variance_type = variance_type
        self.timestep_scale = 1000 / num_train_timesteps if rescale_timesteps else 1
        train_betas = noise_schedule(beta_schedule, num_train_timesteps)
        self.train_alphas_cumprod: Array = np.cumprod(1 - train_betas, dtype=np.float64)
        self.train_sigmas: Array = np.sqrt(
            (1 - self.train_alphas_cumprod) / self.train_alphas_cumprod
        )
        self._keep(space_timesteps(num_train_timesteps, respacing))

    def respaced(self, spec: str | int | Sequence[int] | None) -> 'GaussianDiffusion':
        """The same process over the timesteps that a spec keeps."""
        return self.keeping(space_timesteps(self.num_train_timesteps, spec))

    def keeping(self, timesteps: Sequence[int]) -> 'GaussianDiffusion':
        """The same process over the given ones of the original timesteps, smallest first."""
        process = copy.copy(self)
        process._keep(timesteps)
        return process

    def _keep(self, timesteps: Sequence[int]) -> None:
        """Betas that lead to the same noise in fewer steps (Improved DDPM, eq. 19)."""
        self.timesteps = list(timesteps)
        alpha_bar = self.train_alphas_cumprod[self.timesteps]
        self.betas = 1 - alpha_bar / np.append(1.0, alpha_bar[:-1])
        scaled_timesteps = self.timestep_scale * np.array(self.timesteps, dtype=np.float64)
        self._tables = process_tables(self.betas, np.array(self.timesteps), scaled_timesteps)

    @property
    def num_timesteps(self) -> int:
        """Timesteps that this process walks over."""
        return len(self.timesteps)

    def network_timesteps(self, t: torch.Tensor) -> torch.Tensor:
        """What the network is called with: integers, or floats where they are rescaled."""
        dtype = torch.int64 if self.timestep_scale == 1 else torch.float32
        return self._tables.on_device('network_timestep', t.device, dtype)[t]

    # -- forward ----------------------------------------------------------------------------------

    def level(self, t: int | torch.Tensor, like: torch.Tensor | None = None) -> NoiseLevel:
        """How much signal and noise there is at ``t``.

        As a number, ``t`` may lie one step outside: -1 is the clean image, ``num_timesteps`` is
        pure noise. As a tensor, it gives factors for a batch like ``like``.
        """
        if isinstance(t, torch.Tensor):
            assert like is not None
            signal, noise = (self._tables.at(name, t, like) for name in ('signal', 'noise'))
            return NoiseLevel(
                signal, noise, self._tables.on_device('timestep', t.device, t.dtype)[t]
            )
        if t == -1:
            return CLEAN
        if t == self.num_timesteps:
            return PURE_NOISE
        signal, noise = self._tables.number('signal', t), self._tables.number('noise', t)
        return NoiseLevel(signal, noise, self.timesteps[t])

    def level_at(self, timestep: float) -> NoiseLevel:
        """How much there is at a timestep of training, which may lie between two of them."""
        sigma = float(np.interp(timestep, np.arange(self.num_train_timesteps), self.train_sigmas))
        return NoiseLevel(1 / (1 + sigma**2) ** 0.5, sigma / (1 + sigma**2) ** 0.5, timestep)

    def told(self, level: NoiseLevel) -> float | torch.Tensor:
        """What a network that was trained on this process is told of a level.

        Where the level is one of a timestep, that; else the timestep with as much noise, which may
        lie between two. Beyond the process it is the first or the last.
        """
        timestep = level.timestep
        if timestep is None:
            timestep = interpolate(level.sigma, self.train_sigmas)
        return timestep if self.timestep_scale == 1 else timestep * self.timestep_scale

    def add_noise(
        self, x_0: torch.Tensor, t: int | torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """The draw of q(x_t | x_0) that this noise makes (DDPM, eq. 4)."""
        if noise.shape != x_0.shape:
            raise ValueError(f'Noise of shape {(*noise.shape,)} for x_0 of {(*x_0.shape,)}')
        x_0, noise = at_least_float32(x_0), at_least_float32(noise)
        return self.level(t, x_0).mix(x_0, noise)

    def posterior(
        self, x_0: torch.Tensor, x_t: torch.Tensor, t: int | torch.Tensor
    ) -> GaussianDistribution:
        """q(x_{t-1} | x_t, x_0) (DDPM, eq. 6 and 7)."""
        x_0, x_t = at_least_float32(x_0), at_least_float32(x_t)
        return GaussianDistribution(
            self._posterior_mean(x_0, x_t, t),
            _filled(self._tables.at('variance_small', t, x_t), x_t),
            _filled(self._tables.at('log_variance_small', t, x_t), x_t),
        )

    def _posterior_mean(
        self, x_0: torch.Tensor, x_t: torch.Tensor, t: int | torch.Tensor
    ) -> torch.Tensor:
        of_x_0 = self._tables.at('posterior_mean_x_0', t, x_t)
        of_x_t = self._tables.at('posterior_mean_x_t', t, x_t)
        return of_x_0 * x_0 + of_x_t * x_t

    # -- reverse ----------------------------------------------------------------------------------

    def read(
        self,
        model_output: torch.Tensor,
        x_t: torch.Tensor,
        t: int | torch.Tensor | NoiseLevel,
    ) -> Prediction:
        """What a network that was trained on this process says about x_t.

        Args:
            model_output: The network's output for ``x_t``, with the variance's channels if any.
            x_t: Noisy images of shape (N, C, ...).
            t: Their timesteps; or their level, of unit variance.
        """
        x_t = at_least_float32(x_t)
        said, variance_output = self.split_output(model_output, x_t)
        level = t if isinstance(t, NoiseLevel) else self.level(t, x_t)
        variance = None
        if variance_output is not None:
            variance = LearnedVariance(variance_output, self.variance_type == 'learned')
        if self.prediction_type == 'epsilon':
            return Prediction(level.x_0(x_t, said), said, variance)
        if self.prediction_type == 'start_x':
            return Prediction(said, level.eps(x_t, said), variance)
        index = self._index_of(t)
        of_x_0 = self._tables.at('posterior_mean_x_0', index, x_t)
        of_x_t = self._tables.at('posterior_mean_x_t', index, x_t)
        x_0 = (said - of_x_t * x_t) / of_x_0
        return Prediction(x_0, level.eps(x_t, x_0), variance, previous=said)

    def reverse(
        self, prediction: Prediction, x_t: torch.Tensor, t: int | torch.Tensor
    ) -> ReverseDistribution:
        """p(x_{t-1} | x_t), given which image is in x_t.

        The variance is the learned one, unless the process has a fixed one, or none was learned.
        """
        x_t = at_least_float32(x_t)
        mean = prediction.previous
        if mean is None:
            mean = self._posterior_mean(prediction.x_0, x_t, t)
        variance, log_variance = self._reverse_variance(prediction.variance, x_t, t)
        return ReverseDistribution(mean, variance, log_variance, prediction.x_0)

    def split_output(
        self, model_output: torch.Tensor, x_t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The network's output in its parts: prediction, and what it says about the variance.

        Raises:
            ValueError: The shape is not that of ``x_t`` with the channels of the variance type.
        """
        learned = self.variance_type in LEARNED_VARIANCES
        num, channels, *size = x_t.shape
        expected = (num, 2 * channels if learned else channels, *size)
        if model_output.shape != expected:
            raise ValueError(
                f'A sample of shape {(*x_t.shape,)} and variance_type={self.variance_type!r} need '
                f'a model output of {expected}, got {(*model_output.shape,)}'
            )
        model_output = at_least_float32(model_output)
        if not learned:
            return model_output, None
        prediction, variance_output = model_output.split(channels, dim=1)
        return prediction, variance_output

    def image_share(self, t: int | torch.Tensor, like: torch.Tensor) -> Coefficient:
        """The factor on x_0 in the mean of q(x_{t-1} | x_t, x_0)."""
        return self._tables.at('posterior_mean_x_0', t, like)

    def _index_of(self, t: int | torch.Tensor | NoiseLevel) -> int | torch.Tensor:
        if not isinstance(t, NoiseLevel):
            return t
        if t.timestep not in self.timesteps:
            raise ValueError(
                "A network that predicts the step before (prediction_type='previous_x') knows the "
                f'timesteps of its process alone, not {t.name}: DDPMScheduler and DDIMScheduler '
                'take these'
            )
        return self.timesteps.index(t.timestep)  # type: ignore[arg-type]

    def _reverse_variance(
        self, learned: LearnedVariance | None, x_t: torch.Tensor, t: int | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The variance of a step back, and its logarithm."""
        if learned is None or self.variance_type not in LEARNED_VARIANCES:
            size = 'large' if self.variance_type == 'fixed_large' else 'small'
            variance = self._tables.at(f'variance_{size}', t, x_t)
            log_variance = self._tables.at(f'log_variance_{size}', t, x_t)
            return _filled(variance, x_t), _filled(log_variance, x_t)
        log_variance = learned.output
        if not learned.is_logarithm:
            # Improved DDPM, eq. 15, with v from -1 to 1.
            half_range = self._tables.at('log_variance_half_range', t, x_t)
            log_variance = half_range * log_variance + self._tables.at(
                'log_variance_middle', t, x_t
            )
        return log_variance.exp(), log_variance


def _filled(coefficient: Coefficient, like: torch.Tensor) -> torch.Tensor:
    """A coefficient in a tensor of the images' shape, without the memory of one."""
    if not isinstance(coefficient, torch.Tensor):
        coefficient = like.new_full((), coefficient)
    return coefficient.expand(like.shape)


def _check_choice(argument: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f'Unknown {argument} {value!r}; there are {", ".join(choices)}')
