"""The loss that EDM trains a denoiser with."""

from __future__ import annotations

import torch
from torch import Tensor

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class EDMLoss:
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
        """The loss of a batch.

        Args:
            network: The denoiser, whose ``sigma_data`` is that of the images.
            images: (N, C, H, W) in [-1, 1].
            inputs: What the network is given besides, such as labels.

        Returns:
            ``loss``, the mean over images and pixels, to be minimised.
        """
        if not isinstance(network, EDMPrecond):
            raise TypeError(f'EDMLoss trains an EDMPrecond, not a bare {type(network).__name__}')
        # ln σ ~ N(P_mean, P_std²), n ~ N(0, σ² I)
        normal = torch.randn(len(images), 1, 1, 1, device=images.device)
        sigma = (self.P_mean + self.P_std * normal).exp()
        noisy = images + sigma * torch.randn_like(images)
        # λ(σ) = (σ² + σ_data²) / (σ σ_data)², which is 1 / c_out²
        variance = sigma**2 + network.sigma_data**2
        weight = variance / (sigma * network.sigma_data) ** 2
        denoised = network(noisy, sigma.flatten(), **inputs)
        return dict(loss=(weight * (denoised - images) ** 2).mean())
