"""A conditional network without a class: another one in every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmagic_adm.denoisers.base import Denoiser, WrappedDenoiser
from mmagic_adm.diffusion import NoiseLevel, Prediction


class RedrawnLabels(WrappedDenoiser):
    """Asks about a class that is drawn anew in every call, for each sample.

    Over the steps the classes average out, which leaves what they have in common.

    Args:
        inner: The denoiser to ask, of a conditional network.
        num_classes: How many classes there are.
        generators: What each sample's labels are drawn from.
    """

    def __init__(
        self, inner: Denoiser, num_classes: int, generators: Sequence[torch.Generator]
    ) -> None:
        super().__init__(inner)
        self.num_classes = num_classes
        self.generators = generators

    def predict(self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor]) -> Prediction:
        """What the other says for these classes."""
        drawn = [torch.rand((), generator=own, device=own.device) for own in self.generators]
        labels = (torch.stack(drawn) * self.num_classes).long()
        return self.inner.predict(x_t, level, {**inputs, 'labels': labels})
