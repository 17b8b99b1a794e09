"""A measurement of images, of which the latents are diffused."""

from __future__ import annotations

import torch
from torch import Tensor

from mmagic_adm.codecs import Codec
from mmagic_adm.measurements.operator import Operator, Rows


class DecodedOperator(Operator):
    """A(decode(z)): an operator on the images that latents stand for.

    With a decoder in it nothing is linear, whatever A is: it suits methods that differentiate.

    Args:
        inner: A.
        codec: What decodes latents.
    """

    def __init__(self, inner: Operator, codec: Codec) -> None:
        super().__init__(inner.shape, inner.noise)  # type: ignore[arg-type]
        self.abilities = frozenset()
        self.inner, self.codec = inner, codec

    def forward(self, x: Tensor) -> Tensor:
        """A(decode(z))."""
        return self.inner(self.codec.decode(x))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """What the image of latents lacks of a measurement."""
        return self.inner.residual(self.codec.decode(x), y)

    def rows(self, rows: Rows) -> Operator:
        """The operator of some of the samples."""
        return DecodedOperator(self.inner.rows(rows), self.codec)

    def moved(self, device: torch.device) -> Operator:
        """The operator on another device."""
        return DecodedOperator(self.inner.moved(device), self.codec)
