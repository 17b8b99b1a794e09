"""Networks conditioned so that their task is alike at every noise level, and told sigma."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel
from mmagic_adm.registry import MODELS

# Where the network is among the wrapper's modules; no checkpoint mentions it.
_PLACE = 'network.'


class PreconditionedNetwork(nn.Module):
    """D(x; sigma): the image in x = x_0 + sigma eps; subclasses say how a network gives it.

    It is in every respect but its call the network that is in it. Its state dict is the network's,
    so that a checkpoint fits with the preconditioning and without.

    Args:
        network: Config of the network, or the network; it has as many channels going out as in.
    """

    network: Any

    def __init__(self, network: dict | nn.Module) -> None:
        super().__init__()
        self.network = MODELS.build(network) if isinstance(network, dict) else network
        if self.network.out_channels != self.network.in_channels:
            raise ValueError(
                f'{type(self).__name__} needs a network of {self.network.in_channels} output '
                f'channels, like its input, not {self.network.out_channels}; one that predicts a '
                'variance beside the noise is sampled from as it is'
            )
        # The public methods have these names without the underscore, but only since torch 2.5.
        self._register_state_dict_hook(_without_place)
        self._register_load_state_dict_pre_hook(_with_place, with_module=True)

    def forward(
        self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None, **inputs: Any
    ) -> Tensor:
        """D(x; sigma).

        Args:
            x: Images with noise, x_0 + sigma eps, (N, C, H, W).
            timesteps: The sigma of each, (N,), or (1,) if they share it.
            labels: Class of each image, (N,), if the network is conditional.
            **inputs: What else the network is given.

        Returns:
            The images, in float32 whatever the network computes in.
        """
        x, sigma = x.float(), timesteps.float().view(-1, 1, 1, 1)
        if labels is not None:
            inputs['labels'] = labels
        return self.denoise(x, sigma, inputs)

    def denoise(self, x: Tensor, sigma: Tensor, inputs: dict[str, Any]) -> Tensor:
        """The same, of float32 images and a sigma of shape (N, 1, 1, 1)."""
        raise NotImplementedError

    @property
    def image_size(self) -> int:
        """Height and width of the image, in pixels."""
        return self.network.image_size

    @property
    def in_channels(self) -> int:
        """Channels of the image."""
        return self.network.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the image."""
        return self.network.in_channels

    @property
    def num_classes(self) -> int | None:
        """Classes that the network is conditional on."""
        return self.network.num_classes

    @property
    def null_label(self) -> int | None:
        """The label that stands for no class."""
        return self.network.null_label

    @property
    def dtype(self) -> torch.dtype:
        """The type that the network's weights have."""
        return self.network.dtype


@MODELS.register_module()
class EDMPrecond(PreconditionedNetwork):
    """A network as EDM trains it, or, with a boundary, as consistency models are trained.

    Args:
        network: Config of the network, or the network; it has as many channels going out as in.
        sigma_data: Standard deviation of the images.
        sigma_min: The noise at which an image is taken as it is, D(x; sigma_min) = x, which makes a
            consistency function of it. There is none in EDM.
        c_noise: What the network is told of sigma: ln sigma times a factor, which is 1/4 in EDM and
            250 in consistency models; or the timesteps of a discrete process, by its arguments,
            such as the one that the network was trained on before.
    """

    def __init__(
        self,
        network: dict | nn.Module,
        sigma_data: float = 0.5,
        sigma_min: float = 0.0,
        c_noise: float | Mapping[str, Any] = 0.25,
    ) -> None:
        super().__init__(network)
        if not 0 <= sigma_min < math.inf or sigma_data <= 0:
            raise ValueError(
                f'sigma_min is 0 or more and sigma_data above 0, not {sigma_min} and {sigma_data}'
            )
        self.sigma_data, self.sigma_min = sigma_data, sigma_min
        self.c_noise = GaussianDiffusion(**c_noise) if isinstance(c_noise, Mapping) else c_noise

    def denoise(self, x: Tensor, sigma: Tensor, inputs: dict[str, Any]) -> Tensor:
        """c_skip x + c_out F(c_in x; c_noise) (EDM, eq. 7; Consistency Models, appendix C)."""
        s, e = self.sigma_data, self.sigma_min
        c_skip = s**2 / ((sigma - e) ** 2 + s**2)
        c_out = (sigma - e) * s / (sigma**2 + s**2).sqrt()
        c_in = 1 / (sigma**2 + s**2).sqrt()
        return c_skip * x + c_out * self.network(c_in * x, self._told(sigma), **inputs)

    def _told(self, sigma: Tensor) -> Tensor:
        if not isinstance(self.c_noise, GaussianDiffusion):
            return self.c_noise * sigma.log().flatten()
        return torch.as_tensor(self.c_noise.told(NoiseLevel(1.0, sigma))).flatten().float()


def _without_place(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    _rename(state, prefix + _PLACE, prefix)


def _with_place(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    _rename(state, prefix, prefix + _PLACE)


def _rename(state: dict[str, Any], old: str, new: str) -> None:
    """Puts another prefix before the keys that have the old one, and leaves their order."""
    renamed = {
        new + key.removeprefix(old) if key.startswith(old) else key: value
        for key, value in state.items()
    }
    state.clear()
    state.update(renamed)
