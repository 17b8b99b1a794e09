"""The network of the goldens, which is a formula, and the processes that they were made with."""

import torch

from mmagic_adm.diffusion import GaussianDiffusion


def over_image(values: torch.Tensor) -> torch.Tensor:
    return values.float().reshape(-1, 1, 1, 1)


def formula_network(x: torch.Tensor, timesteps: torch.Tensor, learned: bool = True) -> torch.Tensor:
    b = over_image(timesteps)
    eps = 0.8 * x + 0.2 * torch.sin(2 * x + b / 250)
    return torch.cat([eps, torch.tanh(x + b / 500)], dim=1) if learned else eps


def formula_gradient(y: torch.Tensor):
    def gradient(x_t, t, pred_x0):
        return 0.5 * (over_image(y) / 10 - x_t) * (1 + over_image(t) / 1000)

    return gradient


def settings(meta: dict) -> dict:
    """A case's arguments that a process and a scheduler share."""
    return dict(
        beta_schedule=meta.get('schedule', 'linear'),
        num_train_timesteps=meta.get('steps', 1000),
        prediction_type=meta.get('mean', 'epsilon'),
        variance_type=meta.get('var', 'learned_range'),
        rescale_timesteps=meta.get('rescale', False),
    )


def is_learned(meta: dict) -> bool:
    return meta.get('var', 'learned_range').startswith('learned')


def process_of(meta: dict) -> GaussianDiffusion:
    return GaussianDiffusion(**settings(meta), respacing=meta.get('respacing'))


def reverse_distribution(process, output, x_t, t, clip=True):
    """p(x_{t-1} | x_t), from what a network says."""
    prediction = process.read(output, x_t, t)
    return process.reverse(prediction.clipped() if clip else prediction, x_t, t)
