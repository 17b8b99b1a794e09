"""What EDM2's network is trained with: EDM's loss, as uncertain as each noise level is."""

from __future__ import annotations

import torch
from torch import Tensor

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.models.losses import EDMLoss
from mmagic_adm.networks.edm2 import EDM2UNet
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class EDM2Loss(EDMLoss):
    """EDM's loss, divided by what the network expects it to be at a noise level (EDM2, eq. 21).

    Every level then weighs as much as the others throughout the training.

    Args:
        P_mean: Mean of ln σ.
        P_std: Standard deviation of ln σ.
    """

    def __init__(self, P_mean: float = -0.4, P_std: float = 1.0) -> None:
        super().__init__(P_mean, P_std)

    def __call__(
        self, network: EDMPrecond, images: Tensor, inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The loss of a batch; see :class:`EDMLoss`."""
        unet = getattr(network, 'network', None)
        if not isinstance(network, EDMPrecond) or not isinstance(unet, EDM2UNet):
            given = type(network if unet is None else unet).__name__
            raise TypeError(f'EDM2Loss trains an EDM2UNet in its EDMPrecond, not a {given}')
        # ln σ ~ N(P_mean, P_std²), n ~ N(0, σ² I)
        normal = torch.randn(len(images), 1, 1, 1, device=images.device)
        sigma = (self.P_mean + self.P_std * normal).exp()
        noisy = images + sigma * torch.randn_like(images)
        # λ(σ) / e^u(σ) ‖D(x_0 + n; σ) - x_0‖² + u(σ), λ(σ) = (σ² + σ_data²) / (σ σ_data)²
        weight = (sigma**2 + network.sigma_data**2) / (sigma * network.sigma_data) ** 2
        error = (network(noisy, sigma.flatten(), **inputs) - images) ** 2
        u = unet.log_variance(sigma.log().flatten() / 4)
        return dict(loss=(weight / u.exp() * error + u).mean())
