"""Sources that have a gradient: of a score of theirs, or given as a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmagic_adm.guidance.base import BoundGuidance, Gradient, Guidance, Scale, Walk
from mmagic_adm.guidance.pace import Pace
from mmagic_adm.registry import MODELS, SCOPE


class Source(Guidance):
    """Guidance with a gradient, which schedulers mix in by their default rule.

    Args:
        scale: Factor on the gradient.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    pushes = True

    # Whether the gradient of some samples can be had without the others.
    splits: ClassVar[bool] = True

    def __init__(self, scale: float = 1.0, **pace: Any) -> None:
        super().__init__()
        self.scale = scale
        self.pace = Pace(**pace)

    def gradient(self, x_t: Tensor, t: Tensor, pred_x0: Tensor, labels: Tensor | None) -> Tensor:
        """Gradient of each sample's log-probability (up to a constant), (N, C, H, W)."""
        raise NotImplementedError

    def bind(
        self,
        labels: Tensor | None = None,
        scale: Scale | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> BoundSource | None:
        """Fixes what stays the same for one batch; None where every scale is 0."""
        bound = BoundSource(self, labels, self.scale if scale is None else scale, timesteps)
        return bound if bound.is_active else None

    def check_fits(self, network: nn.Module, scheduler: Walk) -> None:
        """Refuses a network or scheduler that it is not defined for."""
        super().check_fits(network, scheduler)
        self.pace.check_fits(type(self).__name__, scheduler)


class BoundSource(BoundGuidance):
    """A :class:`Source` with the labels and scales of one batch: a function for the gradient."""

    def __init__(
        self,
        source: Source,
        labels: Tensor | None,
        scale: Scale,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        self.source = source
        self.labels = labels
        self.scales = torch.as_tensor(scale, dtype=torch.float32).cpu()
        self.is_active = bool(self.scales.any())
        self.factor = source.pace.over(timesteps)

    @property
    def in_step(self) -> Any | None:
        """This object."""
        return self

    def __call__(self, x_t: Tensor, t: Tensor, pred_x0: Tensor) -> Tensor:
        """The gradient times the scales; zero, at no cost, where guidance is skipped."""
        factor, of = self.factor(t), self.source.gradient
        if factor == 0:
            return torch.zeros_like(x_t)
        if self.scales.ndim == 0:
            return of(x_t, t, pred_x0, self.labels) * (factor * self.scales.item())
        scales = factor * self.scales.to(x_t.device).view(-1, *[1] * (x_t.ndim - 1))
        if not self.source.splits:
            return of(x_t, t, pred_x0, self.labels) * scales
        # Samples that are not pushed are not looked at.
        rows = self.scales.nonzero().flatten().to(x_t.device)
        labels = None if self.labels is None else self.labels[rows]
        pushed = of(x_t[rows], t[rows], pred_x0[rows], labels) * scales[rows]
        return torch.zeros_like(x_t).index_copy(0, rows, pushed.to(x_t.dtype))

    def push(self, x_t: Tensor, t: Tensor, pred_x0: Tensor, weight: Tensor | float) -> Tensor:
        """The gradient times the scales and a rule's weight."""
        return weight * self(x_t, t, pred_x0)


class GradientSource(Source):
    """A source that differentiates a score, one number per sample.

    Subclasses define :meth:`score`. Its gradient is taken with respect to the noisy image, or to
    the image that the network predicts, as ``looks_at`` says. See :class:`Source` for the
    arguments.
    """

    looks_at: Literal['x_t', 'pred_x0'] = 'x_t'

    def score(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Log-probability (up to a constant) of each sample, (N,)."""
        raise NotImplementedError

    def gradient(self, x_t: Tensor, t: Tensor, pred_x0: Tensor, labels: Tensor | None) -> Tensor:
        """Gradient of the scores; their graph is gone when this returns."""
        x = x_t if self.looks_at == 'x_t' else pred_x0
        # Autograd has to work although sampling runs without it, in inference mode even.
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            t = t.clone() if t.stride(0) else t[:1].clone().expand(len(t))  # still shared
            labels = None if labels is None else labels.clone()
            scores = self.score(x, t, labels)
            if scores.shape != (len(x),):
                raise ValueError(
                    f'{self.score_name} gave scores of shape {tuple(scores.shape)} for {len(x)} '
                    'samples; guidance needs one number per sample'
                )
            gradient = None
            if scores.requires_grad:
                (gradient,) = torch.autograd.grad(scores.sum(), x, allow_unused=True)
        if gradient is None:
            raise ValueError(
                f'the score of {self.score_name} does not depend on the image, so it has no '
                'gradient to guide by'
            )
        return gradient

    @property
    def score_name(self) -> str:
        """What to call the score in an error."""
        return type(self).__name__


class GivenGradient(Source):
    """A gradient that is given as a function.

    Args:
        function: ``(x_t, t, pred_x0) -> gradient``, as a scheduler's ``step`` takes it.
        scale: Factor on the gradient.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    splits = False

    def __init__(self, function: Gradient, scale: float = 1.0, **pace: Any) -> None:
        super().__init__(scale, **pace)
        self.function = function

    def gradient(self, x_t: Tensor, t: Tensor, pred_x0: Tensor, labels: Tensor | None) -> Tensor:
        """What the function gives for the whole batch."""
        return self.function(x_t, t, pred_x0)


def as_guidance(part: dict | Guidance | Gradient) -> Guidance:
    """Guidance from its config, or from a function that gives a gradient."""
    if isinstance(part, dict):
        return MODELS.build({'_scope_': SCOPE, **part})
    return part if isinstance(part, Guidance) else GivenGradient(part)
