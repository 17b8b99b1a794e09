"""Guidance of the sample itself, before the network sees it: off-the-shelf guidance under EDM."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from mmagic_adm.arguments import finite
from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance.base import Batch, Form, Guidance, Guide, Moment, Need, Path, Scale
from mmagic_adm.guidance.source import Gradient, source_of
from mmagic_adm.registry import MODELS

# As little as a step is guided; guidance would otherwise end with the noise.
LEAST_STRENGTH = 1e-5


@MODELS.register_module()
class SampleGuidance(Guidance):
    """Pushes the noisy sample along a gradient, as far as the step says and no matter how steep.

    So *Elucidating the Design Space of Classifier-Guided Diffusion Generation* guides EDM
    (https://arxiv.org/abs/2310.11311). The source looks at the sample scaled down to unit root
    mean square where it exceeds that, as if that were an image.

    Args:
        source: Config of what gives the gradient, such as an OffTheShelfGuidance, or the source,
            or a plain callable ``(x_t, t, pred_x0) -> gradient``.
        max_guidance: Length of the first push, in units of the sample's root mean square. It
            falls to nothing over the steps.
        add_factor: How much is added in the middle of the steps, in units of the first push.
    """

    short_name = 'sample'
    requires = frozenset({Need.PARTS})
    forms = frozenset({Form.SAMPLE})

    def __init__(
        self,
        source: dict | Guidance | Gradient,
        max_guidance: float = 0.004,
        add_factor: float = 0.0,
    ) -> None:
        super().__init__()
        finite(max_guidance, 'max_guidance is 0 or more', 0)
        finite(add_factor, 'add_factor is 0 or more', 0)
        self.source = source_of('SampleGuidance', source)
        if Form.DENOISER in self.source.forms:
            raise ValueError(
                f'SampleGuidance pushes along a gradient alone, and {type(self.source).__name__} '
                'also wraps the denoiser; give it a source that does not'
            )
        self.max_guidance = max_guidance
        self.add_factor = add_factor

    @property
    def num_classes(self) -> int | None:
        """How many classes the source tells apart, where it does and says."""
        return self.source.num_classes

    def bind(
        self,
        path: Path,
        labels: Tensor | None = None,
        scale: Scale | None = None,
        device: torch.device | str = 'cpu',
    ) -> Guide | None:
        """Guidance of one batch, whose scale is a factor on the pushes; None where that is 0."""
        own = super().bind(path, labels, scale, device)
        source = self.source.bind(path, labels, device=device)
        if own is None or source is None:
            return None
        return Guide(self, replace(own.batch, parts=(source,)))

    def strength(self, step: int, num_steps: int) -> float:
        """Length of a step's push in units of the sample's root mean square."""
        falling = self.max_guidance * (num_steps + 1 - step) / (num_steps + 1)
        bulge = math.sin(math.pi * step / num_steps) * self.max_guidance * self.add_factor
        return max(falling, LEAST_STRENGTH) + bulge

    def push_sample(
        self, x: Tensor, x_hat: Tensor, level: NoiseLevel, step: int, num_steps: int, batch: Batch
    ) -> Tensor:
        """The sample to go on with."""
        size = root_mean_square(x)
        image = (x / size.clamp(min=1)).float()
        # In float64, in which the squares of small gradients are not yet 0.
        gradient = batch.parts[0].push(Moment(image, level, image)).double()
        steepness = root_mean_square(gradient)
        direction = gradient / steepness.clamp(min=torch.finfo(torch.float64).tiny)
        push = self.strength(step, num_steps) * batch.scales * size * direction
        return x_hat + push.to(x_hat.dtype)


def root_mean_square(x: Tensor) -> Tensor:
    """Of each sample's elements, in a shape that broadcasts over the samples."""
    return x.square().mean(dim=tuple(range(1, x.ndim)), keepdim=True).sqrt()
