"""What training minimises: simple, variational and hybrid losses, one number for each sample."""

import math
from collections.abc import Callable
from typing import Any

import torch

from mmagic_adm.diffusion.prediction import Prediction
from mmagic_adm.diffusion.process import GaussianDiffusion
from mmagic_adm.diffusion.randomness import at_least_float32

LOSS_TYPES = ('mse', 'rescaled_mse', 'kl', 'rescaled_kl')

# Images have 8 bits, so neighbouring values of [-1, 1] are two of these apart.
HALF_PIXEL = 1 / 255


def training_losses(
    process: GaussianDiffusion,
    network: Callable[..., torch.Tensor],
    x_0: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
    loss_type: str = 'rescaled_mse',
    mse_weight: torch.Tensor | float = 1.0,
    **network_kwargs: Any,
) -> dict[str, torch.Tensor]:
    """The loss of each sample at its timestep.

    'kl' is the bound's term in bits, 'rescaled_kl' that times the number of timesteps: an
    estimate of the whole bound. 'mse' is the error of the prediction; where the variance is
    learned, the bound's term is added (Improved DDPM, eq. 16), with a gradient for the variance
    alone. 'rescaled_mse' gives that term the weight num_timesteps / 1000.

    Args:
        process: Says how images turn into noise, and what the network predicts.
        network: Called as ``network(x_t, timesteps, **network_kwargs)``.
        x_0: Images of shape (N, C, ...) in [-1, 1].
        t: (N,) timesteps of the process.
        noise: Standard normal noise of ``x_0``'s shape.
        loss_type: Which loss it is.
        mse_weight: Factor on the error of the prediction, (N,).
        network_kwargs: Anything else that the network takes, such as labels.

    Returns:
        ``loss``, and for the mse losses its parts, ``mse`` and, where there is one, ``vb``; each
        of shape (N,).
    """
    if loss_type not in LOSS_TYPES:
        raise ValueError(f'loss_type is one of {", ".join(LOSS_TYPES)}, not {loss_type!r}')
    x_0, noise = at_least_float32(x_0), at_least_float32(noise)
    x_t = process.add_noise(x_0, t, noise)
    output = network(x_t, process.network_timesteps(t), **network_kwargs)

    if loss_type in ('kl', 'rescaled_kl'):
        bits = bound_term(process, process.read(output, x_t, t), x_0, x_t, t)
        return {'loss': bits * (process.num_timesteps if loss_type == 'rescaled_kl' else 1)}

    said, variance_output = process.split_output(output, x_t)
    mse = mse_weight * mean_of_sample((_target(process, x_0, x_t, t, noise) - said) ** 2)
    if variance_output is None:
        return {'loss': mse, 'mse': mse}

    frozen_mean = torch.cat([said.detach(), variance_output], dim=1)
    vb = bound_term(process, process.read(frozen_mean, x_t, t), x_0, x_t, t)
    if loss_type == 'rescaled_mse':
        vb = vb * (process.num_timesteps / 1000)
    return {'loss': mse + vb, 'mse': mse, 'vb': vb}


def _target(
    process: GaussianDiffusion,
    x_0: torch.Tensor,
    x_t: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    if process.prediction_type == 'epsilon':
        return noise
    if process.prediction_type == 'start_x':
        return x_0
    return process.posterior(x_0, x_t, t).mean


def bound_term(
    process: GaussianDiffusion,
    prediction: Prediction,
    x_0: torch.Tensor,
    x_t: torch.Tensor,
    t: torch.Tensor,
) -> torch.Tensor:
    """L_{t-1} of the variational bound, or L_0 at the first timestep, in bits per dimension.

    DDPM, eq. 5; the decoder of L_0 is eq. 13.
    """
    truth = process.posterior(x_0, x_t, t)
    model = process.reverse(prediction, x_t, t)
    kl = normal_kl(truth.mean, truth.log_variance, model.mean, model.log_variance)
    nll = -discretized_log_likelihood(x_0, model.mean, model.log_variance / 2)
    first = (t == 0).reshape(-1, *[1] * (x_t.ndim - 1))
    return in_bits(torch.where(first, nll, kl))


def normal_kl(
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    other_mean: torch.Tensor | float,
    other_log_variance: torch.Tensor,
) -> torch.Tensor:
    """KL divergence of the first normal distribution from the other, in nats per element."""
    ratio = log_variance - other_log_variance
    distance = (mean - other_mean) ** 2 * torch.exp(-other_log_variance)
    return 0.5 * (torch.exp(ratio) - ratio - 1 + distance)


def discretized_log_likelihood(
    x: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor
) -> torch.Tensor:
    """Log-probability of 8-bit images in [-1, 1] under a normal distribution (DDPM, eq. 13).

    The outermost values stand for all that lies beyond them.
    """
    inverse_std = torch.exp(-log_std)
    up_to_upper_edge = _normal_cdf(inverse_std * (x - mean + HALF_PIXEL))
    up_to_lower_edge = _normal_cdf(inverse_std * (x - mean - HALF_PIXEL))
    probability = torch.where(
        x < -0.999,
        up_to_upper_edge,
        torch.where(x > 0.999, 1 - up_to_lower_edge, up_to_upper_edge - up_to_lower_edge),
    )
    return probability.clamp(min=1e-12).log()


def mean_of_sample(x: torch.Tensor) -> torch.Tensor:
    """Means over everything but the batch."""
    return x.flatten(1).mean(1)


def in_bits(nats: torch.Tensor) -> torch.Tensor:
    """Nats for each element to bits per dimension for each sample."""
    return mean_of_sample(nats) / math.log(2)


def _normal_cdf(x: torch.Tensor) -> torch.Tensor:
    # The tanh approximation, which the published likelihoods were calculated with.
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
