"""The variational bound on the likelihood of images, term by term."""

import math
from collections.abc import Callable, Sequence

import torch

from mmagic_adm.diffusion.losses import bound_term, in_bits, mean_of_sample, normal_kl
from mmagic_adm.diffusion.noise_level import NoiseLevel
from mmagic_adm.diffusion.prediction import Prediction
from mmagic_adm.diffusion.process import GaussianDiffusion
from mmagic_adm.diffusion.randomness import Generators, at_least_float32, randn_like_samples


@torch.no_grad()
def bits_per_dim(
    process: GaussianDiffusion,
    denoiser: Callable[[torch.Tensor, NoiseLevel], Prediction],
    x_0: torch.Tensor,
    noises: Sequence[torch.Tensor] | torch.Tensor | None = None,
    *,
    generator: Generators = None,
    clip: bool = True,
) -> dict[str, torch.Tensor]:
    """The bound on the bits that a model needs for each value of an image (DDPM, eq. 5).

    Args:
        process: The process whose every timestep is visited, the noisiest first.
        denoiser: Says which image is in x_t at a level.
        x_0: 8-bit images of shape (N, C, ...), scaled to [-1, 1].
        noises: Noise of ``x_0``'s shape for each timestep in turn; drawn if not given.
        generator: What the noise is drawn from, see `randn_samples`.
        clip: Keep the predicted x_0 within [-1, 1].

    Returns:
        ``total_bpd`` (N,), which is ``prior_bpd`` (N,) and the sum of the steps' terms ``vb``
        (N, T); the mean squared errors ``xstart_mse`` and ``mse`` (N, T) of the predicted x_0 and
        of the noise that it implies. Along T the noisiest timestep comes first.
    """
    x_0 = at_least_float32(x_0)
    _check_range(x_0)
    if noises is not None and len(noises) != process.num_timesteps:
        raise ValueError(f'{len(noises)} noises for {process.num_timesteps} timesteps')

    vb, x_0_errors, eps_errors = [], [], []
    for k, step in enumerate(reversed(range(process.num_timesteps))):
        noise = randn_like_samples(x_0, generator) if noises is None else noises[k]
        t = torch.full((len(x_0),), step, device=x_0.device)
        level = process.level(step)
        x_t = process.add_noise(x_0, t, noise)
        prediction = denoiser(x_t, level)
        if clip:
            prediction = prediction.clipped()
        vb.append(bound_term(process, prediction, x_0, x_t, t))
        x_0_errors.append(mean_of_sample((prediction.x_0 - x_0) ** 2))
        eps_errors.append(mean_of_sample((level.eps(x_t, prediction.x_0) - noise) ** 2))

    terms = torch.stack(vb, dim=1)
    prior = prior_bits_per_dim(process, x_0)
    return {
        'total_bpd': prior + terms.sum(dim=1),
        'prior_bpd': prior,
        'vb': terms,
        'xstart_mse': torch.stack(x_0_errors, dim=1),
        'mse': torch.stack(eps_errors, dim=1),
    }


def prior_bits_per_dim(process: GaussianDiffusion, x_0: torch.Tensor) -> torch.Tensor:
    """L_T: how far the noisiest images still are from pure noise, in bits per dimension."""
    x_0 = at_least_float32(x_0)
    level = process.level(process.num_timesteps - 1)
    log_variance = x_0.new_full((), 2 * math.log(float(level.noise)))
    return in_bits(normal_kl(level.signal * x_0, log_variance, 0.0, torch.zeros_like(log_variance)))


def _check_range(x_0: torch.Tensor) -> None:
    low, high = (bound.item() for bound in torch.aminmax(x_0))
    if not -1.001 <= low <= high <= 1.001:
        raise ValueError(
            f'Bits per dim are defined for images in [-1, 1]; these reach from {low:g} to {high:g}'
        )
