"""A rule that lets the directions of a step not work against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmagic_adm.denoisers import Denoiser
from mmagic_adm.guidance.base import (
    SCALE,
    Batch,
    Form,
    Guidance,
    Guide,
    Guided,
    Need,
    Path,
    Scale,
    StochasticStep,
)
from mmagic_adm.guidance.source import Gradient, source_of
from mmagic_adm.registry import MODELS


class Directions(NamedTuple):
    """What moves the pixels in a step, one row per sample."""

    classification: Tensor
    denoising: Tensor
    diversity: Tensor


def _clsden(way: Directions) -> Directions:
    """Settles classification and denoising."""
    c, d, v = way
    return Directions(without_conflict(c, d), without_conflict(d, c), v)


def _clsden_clsdiv(way: Directions) -> Directions:
    """Settles classification with both others; they yield to it as it came."""
    c, d, v = way
    settled = without_conflict(without_conflict(c, d), v)
    return Directions(settled, without_conflict(d, c), without_conflict(v, c))


def _clsden_clsdiv_chained(way: Directions) -> Directions:
    """Settles classification and denoising; diversity yields to what that leaves."""
    c, d, v = way
    left = without_conflict(c, d)
    return Directions(without_conflict(left, v), without_conflict(d, c), without_conflict(v, left))


VARIANTS: dict[str, Callable[[Directions], Directions]] = {
    'clsden': _clsden,
    'clsden_clsdiv': _clsden_clsdiv,
    'clsden_clsdiv_chained': _clsden_clsdiv_chained,
}


@MODELS.register_module()
class PixelAsParamGuidance(Guidance):
    """Takes out of each direction of a step what conflicts with another (Dinh et al. 2023).

    In *PixelAsParam: A Gradient View on Diffusion Sampling with Guidance* a stochastic step is the
    sum of three directions: denoising, towards the predicted image; classification, the pushed
    gradient; and diversity, the noise. Two that point against each other lose their component
    along the other, each sample by itself.

    Args:
        source: Where the gradient comes from: a config, guidance, or a function
            ``(x_t, t, pred_x0) -> gradient``. In a model's config, none is the model's classifier.
        variant: Which pairs are settled: 'clsden' classification and denoising; 'clsden_clsdiv'
            classification and diversity too; 'clsden_clsdiv_chained' likewise, but for diversity
            with what is left of classification after denoising.
        **pace: When it acts, besides what the source says; see
            :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'pixels'
    requires = frozenset({Need.CLASSIFIER})
    arguments = (SCALE._replace(high=20.0),)
    usual = dict(variant='clsden_clsdiv')
    forms = frozenset({Form.STEP})

    def __init__(
        self, source: dict | Guidance | Gradient, variant: str = 'clsden', **pace: Any
    ) -> None:
        super().__init__(**pace)
        if variant not in VARIANTS:
            raise ValueError(f'variant is {", ".join(map(repr, VARIANTS))}, not {variant!r}')
        self.source = source_of('PixelAsParamGuidance', source)
        self.variant = variant
        self.forms = self.forms | (self.source.forms & {Form.DENOISER})

    @property
    def num_classes(self) -> int | None:
        """How many classes the source tells apart."""
        return self.source.num_classes

    def bind(
        self,
        path: Path,
        labels: Tensor | None = None,
        scale: Scale | None = None,
        device: torch.device | str = 'cpu',
    ) -> Guide | None:
        """Guidance of one batch; None where the source's scale is 0."""
        source = self.source.bind(path, labels, scale, device)
        if source is None:
            return None
        return Guide(self, Batch(path, labels, factor=self.pace.over(path), parts=(source,)))

    def wrap(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The denoiser with what the source puts around it."""
        return batch.parts[0].wrap(denoiser)

    def settle(self, step: StochasticStep, batch: Batch) -> Tensor:
        """The next sample: what stays of x_t, and the directions without their conflicts."""
        factor = batch.factor(step.moment.level)
        if factor == 0 or Form.GRADIENT not in batch.parts[0].forms:
            return step.mean + step.noise
        denoising = step.image_share * step.moment.x_0
        pushed = batch.parts[0].push(step.moment, factor * step.variance)
        settled = VARIANTS[self.variant](Directions(pushed, denoising, step.noise))
        return (step.mean - denoising) + sum(settled)

    def check_fits(self, network: Any, scheduler: Guided) -> None:
        """Refuses a network or scheduler that it or its source is not defined for."""
        super().check_fits(network, scheduler)
        self.source.check_fits(network, scheduler)


def without_conflict(direction: Tensor, other: Tensor) -> Tensor:
    """A direction less its component along another, in the samples where they point apart."""
    over_pixels = tuple(range(1, direction.ndim))
    product = (direction * other).sum(over_pixels, keepdim=True).clamp(max=0)
    square = other.square().sum(over_pixels, keepdim=True)
    share = product / square.clamp(min=torch.finfo(square.dtype).tiny)
    return direction - share * other
