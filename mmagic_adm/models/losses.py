"""What a denoising network is trained with: ADM's losses, and EDM's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.diffusion import (
    GaussianDiffusion,
    LossSecondMomentTimestepSampler,
    TimestepSampler,
    UniformTimestepSampler,
    training_losses,
)
from mmagic_adm.diffusion.loss_weights import build_weighting
from mmagic_adm.diffusion.losses import LOSS_TYPES
from mmagic_adm.models.quarter_log import QuarterLog
from mmagic_adm.registry import MODELS, build_part

TIMESTEP_SAMPLERS: dict[str, type[TimestepSampler]] = {
    'uniform': UniformTimestepSampler,
    'loss_second_moment': LossSecondMomentTimestepSampler,
}


class TrainingLoss:
    """Base of losses that know more of a training than its batches; others may be any callable."""

    def __call__(
        self, network: Any, images: Tensor, inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            network: What is trained.
            images: (N, C, H, W) in [-1, 1].
            inputs: What the network is given besides, such as labels.

        Returns:
            ``loss``, to be minimised, and its parts for the log if there are any.
        """
        raise NotImplementedError

    def check_fits(self, network: nn.Module) -> None:
        """Refuses a network that it cannot train."""

    def prepare(self, network: nn.Module) -> Sequence[nn.Module]:
        """Makes the copies of the network that it needs, and gives them."""
        return []

    def after_step(self, network: nn.Module) -> None:
        """Takes note of a step of the optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """What the next loss depends on, besides the network and what is drawn."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved state."""


class DiffusionLoss(TrainingLoss):
    """Noises images at random timesteps, and scores what a network says about them.

    Args:
        process: The process over every timestep.
        loss_type: 'rescaled_mse' (the hybrid loss that ADM trains with), 'mse', 'kl' or
            'rescaled_kl'; see :func:`mmagic_adm.diffusion.training_losses`.
        timestep_sampler: 'uniform' or 'loss_second_moment', or a dict with that as ``type`` and
            its arguments.
        loss_weighting: Factor on the error of the prediction at each noise level: 'min_snr' or
            'p2', or a dict with that as ``type`` and its arguments, see
            :mod:`mmagic_adm.diffusion.loss_weights`; None is 1 for all.
    """

    def __init__(
        self,
        process: GaussianDiffusion,
        loss_type: str = 'rescaled_mse',
        timestep_sampler: str | dict[str, Any] = 'uniform',
        loss_weighting: str | dict[str, Any] | None = None,
    ) -> None:
        if loss_type not in LOSS_TYPES:
            raise ValueError(f'loss_type is one of {", ".join(LOSS_TYPES)}, not {loss_type!r}')
        self.process = process
        self.loss_type = loss_type
        self.timestep_sampler = _build_sampler(timestep_sampler, process.num_timesteps)
        self.quarter_log = QuarterLog(process.num_timesteps)
        self.mse_weights = torch.ones(process.num_timesteps)
        if loss_weighting is not None:
            self.mse_weights = _mse_weights(process, loss_type, loss_weighting)

    def __call__(
        self, network: nn.Module, images: Tensor, inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """See :class:`TrainingLoss`; the network is called as (x_t, timesteps, **inputs)."""
        drawn, weights, noise = self.draw(images)
        t, weights = _sent(drawn, images.device), _sent(weights, images.device)
        mse_weight = _sent(self.mse_weights[drawn], images.device)
        terms = training_losses(
            self.process, network, images, t, noise, self.loss_type, mse_weight, **inputs
        )
        self.timestep_sampler.update(drawn, terms['loss'].detach())
        self.quarter_log.add(t, {'loss': terms['loss']})
        return {name: (term * weights).mean() for name, term in terms.items()}

    def state_dict(self) -> dict[str, Any]:
        """That of the timestep sampler."""
        return self.timestep_sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved state."""
        self.timestep_sampler.load_state_dict({name: value.cpu() for name, value in state.items()})

    def draw(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Timesteps and the factors on the losses at them, on the CPU, and noise.

        All that is random here.
        """
        return *self.timestep_sampler.sample(len(images)), torch.randn_like(images)


def _mse_weights(
    process: GaussianDiffusion, loss_type: str, loss_weighting: str | dict[str, Any]
) -> Tensor:
    """Factor on the error of the prediction at each timestep."""
    if 'mse' not in loss_type or process.prediction_type == 'previous_x':
        raise ValueError(
            f'loss_weighting={loss_weighting!r} weighs squared errors in the noise or the image, '
            f'and this loss is {loss_type!r} of a network that predicts {process.prediction_type!r}'
        )
    snr = process.train_sigmas**-2
    weights = build_weighting(loss_weighting)(snr)
    if process.prediction_type == 'start_x':
        weights = weights * snr
    return torch.from_numpy(weights).float()


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting for what the device does first."""
    if device.type == 'cuda':
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _build_sampler(config: str | dict[str, Any], num_timesteps: int) -> TimestepSampler:
    arguments = dict(type=config) if isinstance(config, str) else dict(config)
    name = arguments.pop('type')
    if name not in TIMESTEP_SAMPLERS:
        known = ', '.join(TIMESTEP_SAMPLERS)
        raise ValueError(f'timestep_sampler is one of {known}, not {name!r}')
    return TIMESTEP_SAMPLERS[name](num_timesteps, **arguments)


class PreconditionedLoss(TrainingLoss):
    """Base of losses in units of sigma."""

    def check_fits(self, network: nn.Module) -> None:
        """Refuses a network without a preconditioning."""
        if not isinstance(network, EDMPrecond):
            raise ValueError(
                f'{type(self).__name__} trains a network in a preconditioning, '
                f"dict(type='EDMPrecond', network=...), not a bare {type(network).__name__}"
            )


@MODELS.register_module()
class EDMLoss(PreconditionedLoss):
    """Noises images at random levels, and scores the images that a denoiser sees in them.

    The noise levels are log-normal. Each error weighs as much as it does in the network's own
    output, so that levels count alike at the start (EDM, section 5).

    Args:
        P_mean: Mean of ln σ.
        P_std: Standard deviation of ln σ.
    """

    def __init__(self, P_mean: float = -1.2, P_std: float = 1.2) -> None:
        self.P_mean = P_mean
        self.P_std = P_std

    def __call__(
        self, network: EDMPrecond, images: Tensor, inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """See :class:`TrainingLoss`."""
        # ln σ ~ N(P_mean, P_std²), n ~ N(0, σ² I)
        normal = torch.randn(len(images), 1, 1, 1, device=images.device)
        sigma = (self.P_mean + self.P_std * normal).exp()
        noisy = images + sigma * torch.randn_like(images)
        # λ(σ) = (σ² + σ_data²) / (σ σ_data)², which is 1 / c_out²
        variance = sigma**2 + network.sigma_data**2
        weight = variance / (sigma * network.sigma_data) ** 2
        denoised = network(noisy, sigma.flatten(), **inputs)
        return dict(loss=(weight * (denoised - images) ** 2).mean())


def build_loss(
    process: GaussianDiffusion, network: nn.Module, loss: Any, **settings: Any
) -> Callable[..., dict[str, Tensor]]:
    """A model's loss: a `DiffusionLoss` with the settings that are given, or another.

    Args:
        process: What the model's network is trained on.
        network: The network, which a loss may refuse.
        loss: Config of another loss, or the loss.
        **settings: Arguments of `DiffusionLoss`; None is its default.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if loss is None:
        return DiffusionLoss(process, **given)
    if given:
        kind = loss['type'] if isinstance(loss, dict) else type(loss).__name__
        raise ValueError(f'{" and ".join(given)} are of DiffusionLoss, and the loss is {kind}')
    built = build_part(MODELS, loss)
    if isinstance(built, TrainingLoss):
        built.check_fits(network)
    return built
