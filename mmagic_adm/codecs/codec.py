"""What a codec is, and the one that changes nothing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmagic_adm.checkpoints.model_folder import Part
from mmagic_adm.registry import MODELS

Shape = tuple[int, int, int]
"""Channels, height and width."""
Draw = Callable[[Tensor], Tensor]
"""Gives standard normal noise for tensors like these."""


class Codec(nn.Module):
    """Turns images into what is diffused, and back; each sample by itself.

    Images are in [-1, 1].
    """

    @abstractmethod
    def encode(self, images: Tensor, draw: Draw | None = None) -> Tensor:
        """What is diffused, of images, (N, C, H, W).

        Args:
            images: The images.
            draw: Gives the noise, where latents are drawn; None takes their means.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """The images, (N, C, H, W); gradients go through."""

    @abstractmethod
    def image_shape(self, latents: Shape) -> Shape:
        """Channels, height and width of an image, from those of what is diffused."""

    @abstractmethod
    def latents_of(self, batch: Tensor) -> Tensor:
        """What training diffuses, of a batch of images, or of latents as they were kept."""

    def check_fits(self, network: Any) -> None:
        """Refuses a network of other latents."""

    def stored(self) -> Part | None:
        """What a folder of a model holds beside its networks: an autoencoder, if there is one."""
        return None

    def slices(self, count: int) -> list[slice]:
        """The samples of a batch that are to be decoded and looked at together."""
        return [slice(0, count)]


@MODELS.register_module()
class PixelCodec(Codec):
    """Images are diffused as they are."""

    def encode(self, images: Tensor, draw: Draw | None = None) -> Tensor:
        """The images."""
        return images

    def decode(self, latents: Tensor) -> Tensor:
        """The images."""
        return latents

    def image_shape(self, latents: Shape) -> Shape:
        """The same."""
        return latents

    def latents_of(self, batch: Tensor) -> Tensor:
        """The images."""
        return batch


PIXELS = PixelCodec()
