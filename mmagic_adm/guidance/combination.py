"""Several guidances at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmagic_adm.arguments import finite
from mmagic_adm.denoisers import Denoiser
from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance.base import (
    Batch,
    Draw,
    Form,
    Guidance,
    Guide,
    Guided,
    Mixture,
    Moment,
    Need,
    Path,
    Scale,
    StochasticStep,
    as_scales,
)
from mmagic_adm.guidance.source import Gradient, as_guidance
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class SumGuidance(Guidance):
    """A weighted sum of guidances.

    Their gradients are added; one of them may be classifier-free, another correct images, and both
    act beside the rest.

    Args:
        sources: Configs, guidances, or functions ``(x_t, t, pred_x0) -> gradient``.
        weights: Factor on the scale of each; None is 1 for all. The scale that a batch is given
            is a factor on all of them.
        **pace: When the sum acts, besides what each source says; see
            :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'sum'
    requires = frozenset({Need.PARTS})

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
        if self.forms - {Form.GRADIENT} and not self.pace.is_even:
            raise ValueError(
                'part of this SumGuidance is no gradient, which is all that its pace is for: give '
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

    def correct(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The denoiser with what the part that corrects images puts around it."""
        for part in batch.parts:
            denoiser = part.correct(denoiser)
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

    def settle(self, step: StochasticStep, batch: Batch) -> Tensor:
        """What the part that settles steps says, or else the default."""
        rule = _part(Form.STEP, batch)
        return super().settle(step, batch) if rule is None else rule.settle(step)

    def mix(self, mixture: Mixture, batch: Batch) -> Tensor:
        """What the part that mixes steps says, or else the default."""
        mixing = _part(Form.MIXTURE, batch)
        return mixture.plain() if mixing is None else mixing.mix(mixture)

    def land(self, x: Tensor, level: NoiseLevel, draw: Draw, batch: Batch) -> Tensor:
        """The sample moved by every part."""
        for part in batch.parts:
            x = part.land(x, level, draw)
        return x

    def push_sample(
        self, x: Tensor, x_hat: Tensor, level: NoiseLevel, step: int, num_steps: int, batch: Batch
    ) -> Tensor:
        """The sample pushed by the part that does."""
        pushing = _part(Form.SAMPLE, batch)
        return x_hat if pushing is None else pushing.push_sample(x, x_hat, level, step, num_steps)

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
    rules = [type(part).__name__ for part in parts if part.forms & {Form.STEP, Form.SAMPLE}]
    pushing = [type(part).__name__ for part in parts if Form.GRADIENT in part.forms]
    restores = any(part.forms & {Form.IMAGE, Form.LANDING, Form.MIXTURE} for part in parts)
    if rules and (pushing or not restores):
        raise ValueError(
            f'SumGuidance adds up sources{" such as " + pushing[0] if pushing else ""}, and '
            f'{rules[0]} is a rule; if it takes a source, give it the sum'
        )
    for form in set(Form) - {Form.GRADIENT}:
        acting = [type(part).__name__ for part in parts if form in part.forms]
        if len(acting) > 1:
            raise ValueError(
                f'{" and ".join(acting)} are both guidance that {form.value}; take one'
            )
    classes = {part.num_classes: type(part).__name__ for part in parts if part.num_classes}
    if len(classes) > 1:
        told = ', '.join(f'{count} ({name})' for count, name in classes.items())
        raise ValueError(f'the sources of SumGuidance tell different numbers of classes: {told}')


def together(guides: Sequence[Guide | None], path: Path) -> Guide | None:
    """Guidance that was bound by itself, as one; None where there is none."""
    there = tuple(guide for guide in guides if guide is not None)
    if len(there) < 2:
        return there[0] if there else None
    return Guide(SumGuidance([guide.guidance for guide in there]), Batch(path, parts=there))


def _part(form: Form, batch: Batch) -> Guide | None:
    """The part that acts in a form, of those of which there is one at most."""
    return next((part for part in batch.parts if form in part.forms), None)
