"""Several guidances at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmagic_adm.arguments import finite
from mmagic_adm.denoisers import Denoiser
from mmagic_adm.guidance.base import (
    Batch,
    Form,
    Guidance,
    Guide,
    Guided,
    Moment,
    Path,
    Scale,
    as_scales,
)
from mmagic_adm.guidance.source import Gradient, as_guidance
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class SumGuidance(Guidance):
    """A weighted sum of guidances.

    Their gradients are added; one of them may be classifier-free, and acts beside the rest.

    Args:
        sources: Configs, guidances, or functions ``(x_t, t, pred_x0) -> gradient``.
        weights: Factor on the scale of each; None is 1 for all. The scale that a batch is given
            is a factor on all of them.
        **pace: When the sum acts, besides what each source says; see
            :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    def __init__(
        self,
        sources: Sequence[dict | Guidance | Gradient],
        weights: Sequence[float] | None = None,
        **pace: Any,
    ) -> None:
        super().__init__(**pace)
        parts = [as_guidance(source) for source in sources]
        self.sources = nn.ModuleList(parts)
        self.weights = [1.0] * len(parts) if weights is None else list(weights)
        _check(parts, self.weights)
        self.forms = frozenset().union(*(part.forms for part in parts))
        if Form.DENOISER in self.forms and not self.pace.is_even:
            raise ValueError(
                'part of this SumGuidance wraps the denoiser and does not act in the step: give '
                'interval, every and schedule to its sources instead'
            )

    @property
    def parts(self) -> Sequence[Guidance]:
        """The guidances that are added."""
        return cast(Sequence[Guidance], self.sources)

    @property
    def num_classes(self) -> int | None:
        """How many classes the sources tell apart."""
        return next((part.num_classes for part in self.parts if part.num_classes), None)

    def bind(
        self,
        path: Path,
        labels: Tensor | None = None,
        scale: Scale | None = None,
        device: torch.device | str = 'cpu',
    ) -> Guide | None:
        """Guidance of one batch; None where no source has anything to do."""
        overall = as_scales(self.scale if scale is None else scale)
        bound = [
            part.bind(path, labels, overall * weight * part.scale, device)
            for part, weight in zip(self.parts, self.weights, strict=True)
        ]
        parts = tuple(guide for guide in bound if guide is not None)
        if not parts:
            return None
        return Guide(self, Batch(path, labels, factor=self.pace.over(path), parts=parts))

    def wrap(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The denoiser with what any part puts around it."""
        for part in batch.parts:
            denoiser = part.wrap(denoiser)
        return denoiser

    def push(self, moment: Moment, weight: Tensor | float, batch: Batch) -> Tensor:
        """The sum of the pushes."""
        factor = batch.factor(moment.level)
        total = torch.zeros_like(moment.x_t)
        if factor == 0:
            return total
        for part in batch.parts:
            if Form.GRADIENT in part.forms:
                total = total + part.push(moment, weight)
        return factor * total

    def check_fits(self, network: Any, scheduler: Guided) -> None:
        """Refuses a network or scheduler that any source is not defined for."""
        self.pace.check_fits(type(self).__name__, scheduler)
        for part in self.parts:
            part.check_fits(network, scheduler)


def _check(parts: Sequence[Guidance], weights: Sequence[float]) -> None:
    if not parts or len(weights) != len(parts):
        raise ValueError(
            f'SumGuidance has {len(parts)} sources and {len(weights)} weights; it takes at least '
            'one source, and one weight for each'
        )
    for weight in weights:
        finite(weight, 'a weight of SumGuidance is a finite number')
    for part in parts:
        if not part.forms & {Form.GRADIENT, Form.DENOISER}:
            raise ValueError(
                f'SumGuidance adds up sources, and {type(part).__name__} is a rule; turn them '
                'round: give the sum to the rule as its source'
            )
    changing = [type(part).__name__ for part in parts if Form.DENOISER in part.forms]
    if len(changing) > 1:
        raise ValueError(f'{" and ".join(changing)} both wrap the denoiser; take one')
    classes = {part.num_classes: type(part).__name__ for part in parts if part.num_classes}
    if len(classes) > 1:
        told = ', '.join(f'{count} ({name})' for count, name in classes.items())
        raise ValueError(f'the sources of SumGuidance tell different numbers of classes: {told}')
