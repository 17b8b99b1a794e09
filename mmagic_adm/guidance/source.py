"""Guidance that has a gradient: of a score of its own, or given as a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmagic_adm.codecs import PIXELS, Codec
from mmagic_adm.guidance.base import Batch, Form, Guidance, Guide, Moment, Path
from mmagic_adm.registry import MODELS, SCOPE

Gradient = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps (x_t, t, pred_x0) to the gradient of a log-probability."""


class Source(Guidance):
    """Guidance with a gradient, which schedulers mix in by their default rule."""

    forms = frozenset({Form.GRADIENT})

    # Whether the gradient of some samples can be had without the others.
    splits: ClassVar[bool] = True

    def gradient(
        self,
        x_t: Tensor,
        t: Tensor,
        pred_x0: Tensor,
        labels: Tensor | None,
        codec: Codec = PIXELS,
    ) -> Tensor:
        """Gradient of each sample's log-probability (up to a constant), (N, C, H, W)."""
        raise NotImplementedError

    def push(self, moment: Moment, weight: Tensor | float, batch: Batch) -> Tensor:
        """The gradient times the scale and the weight; zero, at no cost, where it is skipped."""
        factor, rows, (x_t, level, x_0) = batch.factor(moment.level), batch.rows, moment
        codec = batch.path.codec
        if factor == 0:
            return torch.zeros_like(x_t)
        scales = factor * batch.scales
        if rows is None or not self.splits:
            t = batch.timesteps(level, x_t)
            return weight * (self.gradient(x_t, t, x_0, batch.labels, codec) * scales)
        # Samples that are not pushed are not looked at.
        seen, labels = x_t[rows], None if batch.labels is None else batch.labels[rows]
        pushed = self.gradient(seen, batch.timesteps(level, seen), x_0[rows], labels, codec)
        pushed = (pushed * scales[rows]).to(x_t.dtype)  # type: ignore[index]
        return weight * torch.zeros_like(x_t).index_copy(0, rows, pushed)


class GradientSource(Source):
    """A source that differentiates a score, one number per sample.

    Subclasses define :meth:`score`. Its gradient is taken with respect to the noisy image, or to
    the image that the network predicts, as ``looks_at`` says. Where latents are diffused, a
    predicted image is decoded, and the gradient is that by its latents; x_t is shown as it is. See
    :class:`Guidance` for the arguments.
    """

    looks_at: Literal['x_t', 'pred_x0'] = 'x_t'

    def score(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Log-probability (up to a constant) of each sample, (N,)."""
        raise NotImplementedError

    @property
    def image_size(self) -> int | None:
        """The size of what it looks at, where it takes one alone."""
        return None

    def gradient(
        self,
        x_t: Tensor,
        t: Tensor,
        pred_x0: Tensor,
        labels: Tensor | None,
        codec: Codec = PIXELS,
    ) -> Tensor:
        """Gradient of the scores; their graph is gone when this returns."""
        x, codec = (x_t, PIXELS) if self.looks_at == 'x_t' else (pred_x0, codec)
        return torch.cat(
            [
                self._gradient(x[rows], t[rows], None if labels is None else labels[rows], codec)
                for rows in codec.slices(len(x))
            ]
        )

    def _gradient(self, x: Tensor, t: Tensor, labels: Tensor | None, codec: Codec) -> Tensor:
        # Autograd has to work although sampling runs without it, in inference mode even.
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            t = t[:1].clone().expand(len(t))  # still shared
            labels = None if labels is None else labels.clone()
            scores = self.score(codec.decode(x), t, labels)
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
        function: ``(x_t, t, pred_x0) -> gradient``.
        scale: Factor on the gradient.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    splits = False

    def __init__(self, function: Gradient, scale: float = 1.0, **pace: Any) -> None:
        super().__init__(scale, **pace)
        self.function = function

    def gradient(
        self,
        x_t: Tensor,
        t: Tensor,
        pred_x0: Tensor,
        labels: Tensor | None,
        codec: Codec = PIXELS,
    ) -> Tensor:
        """What the function gives for the whole batch, as it is diffused."""
        gradient: Any = self.function(x_t, t, pred_x0)
        if not isinstance(gradient, Tensor) or gradient.shape != x_t.shape:
            is_tensor = isinstance(gradient, Tensor)
            got = (*gradient.shape,) if is_tensor else type(gradient).__name__
            name = getattr(self.function, '__name__', type(self.function).__name__)
            raise ValueError(
                f'Guidance by {name} must return a tensor of shape {(*x_t.shape,)}, got {got}'
            )
        return gradient.to(x_t.dtype)


def named_guidance() -> dict[str, type[Guidance]]:
    """The guidance that there is, by its short names."""
    MODELS.import_from_location()
    kinds = [kind for kind in MODELS.module_dict.values() if isinstance(kind, type)]
    # A class that derives from another has a name of its own, or none.
    return {
        vars(kind)['short_name']: kind
        for kind in kinds
        if issubclass(kind, Guidance) and vars(kind).get('short_name')
    }


def guidance_config(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    """A config of guidance, whose short name may be all that is given, or its ``type``.

    Raises:
        ValueError: No guidance is called so; the message has the names.
    """
    config: dict[str, Any] = dict(type=spec) if isinstance(spec, str) else dict(spec)
    kind = named_guidance().get(config.get('type', ''))
    if kind is not None:
        return {**kind.usual, **config, 'type': kind.__name__}
    if isinstance(spec, str) and spec not in MODELS:
        raise ValueError(
            f'no guidance is called {spec!r}; there are {", ".join(sorted(named_guidance()))}, or '
            'give its config: dict(type=..., ...)'
        )
    return config


def as_guidance(part: str | dict | Guidance | Gradient) -> Guidance:
    """Guidance from its name or config, or from a function that gives a gradient."""
    built: Any = part
    if isinstance(part, (str, dict)):
        config = {'_scope_': SCOPE, **guidance_config(part)}
        _check_complete(config)
        built = MODELS.build(config)
    if isinstance(built, Guidance):
        return built
    if isinstance(built, nn.Module) or not callable(built):
        what = repr(part) if built is part else type(built).__name__
        raise ValueError(
            "guidance is a name such as 'cfg', a config such as dict(type='cfg', scale=2), what is "
            f'built of one, or a function (x_t, t, pred_x0) -> gradient; not {what}'
        )
    return GivenGradient(built)


def _check_complete(config: Mapping[str, Any]) -> None:
    """Refuses a config of guidance that lacks what it cannot do without."""
    kind = config.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(kind, type) and issubclass(kind, Guidance)):
        return
    lacking = [
        name
        for name, argument in inspect.signature(kind).parameters.items()
        if name not in config
        and argument.default is argument.empty
        and argument.kind is not argument.VAR_KEYWORD
    ]
    if lacking:
        given = ', '.join(f'{name}=...' for name in lacking)
        raise ValueError(
            f'{kind.__name__} needs {" and ".join(lacking)}: guidance=dict(type='
            f'{(kind.short_name or kind.__name__)!r}, {given})'
        )


def as_guide(guidance: Guide | Gradient | None, path: Path, device: torch.device) -> Guide | None:
    """What a step is guided by: guidance of a batch, or a function that gives a gradient."""
    if guidance is None or isinstance(guidance, Guide):
        return guidance
    if isinstance(guidance, nn.Module) or not callable(guidance):
        raise TypeError(
            f'{type(guidance).__name__} cannot guide a step, which takes what bind() of a guidance '
            'gives, or a plain callable (x_t, t, pred_x0) -> gradient'
        )
    return GivenGradient(guidance).bind(path, device=device)


def source_of(rule: str, source: dict | Guidance | Gradient) -> Guidance:
    """Guidance that a rule takes its gradient from.

    Args:
        rule: What the rule is called.
        source: The guidance, its config, or a function that gives the gradient.
    """
    built = as_guidance(source)
    if Form.GRADIENT not in built.forms:
        acts: Sequence[str] = [form.value for form in built.forms]
        raise ValueError(
            f'{rule} takes a gradient from its source, and {type(built).__name__} has none: it '
            f'{" and ".join(acts)}; give it a source that has one'
        )
    return built
