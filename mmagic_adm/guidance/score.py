"""Guidance by any score that a person writes down in Python."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor, nn

from mmagic_adm.guidance.base import Need
from mmagic_adm.guidance.classifier import freeze, in_type_of
from mmagic_adm.guidance.source import GradientSource
from mmagic_adm.registry import MODELS

Score = Callable[..., Tensor]
LooksAt = Literal['x_t', 'pred_x0']


@MODELS.register_module()
class ScoreGuidance(GradientSource):
    """Gradient of a score of your own.

    A file of yours registers it, and a config names it::

        # redness.py
        from mmagic_adm.registry import MODELS

        @MODELS.register_module()
        def redness(images, target=0.5):
            return -(images[:, 0] - target).square().mean(dim=(1, 2))

        # in the config
        custom_imports = dict(imports=['redness'])
        model = dict(guidance=dict(type='ScoreGuidance', score='redness', scale=1000.0))

    Args:
        score: Gives each sample a number, the larger the better: the name of a registered function
            or module; a config of one, ``dict(type='redness', target=0.3)``; a function or module.
            It is called with the images, in [-1, 1] if they are predicted ones, and besides with
            ``t`` and ``labels`` where it has parameters of these names.
        scale: Factor on the gradient.
        looks_at: The images it is shown: 'pred_x0', those that the network predicts, or 'x_t', the
            noisy ones.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'score'
    requires = frozenset({Need.PARTS})

    def __init__(
        self,
        score: str | dict | nn.Module | Score,
        scale: float = 1.0,
        looks_at: LooksAt = 'pred_x0',
        **pace: Any,
    ) -> None:
        super().__init__(scale, **pace)
        if looks_at not in get_args(LooksAt):
            raise ValueError(f"looks_at is 'x_t' or 'pred_x0', not {looks_at!r}")
        self.looks_at = looks_at
        if isinstance(score, str):
            score = dict(type=score)
        self._score = _from_registry(score) if isinstance(score, dict) else score
        called = self._score.forward if isinstance(self._score, nn.Module) else self._score
        taken = inspect.signature(called).parameters
        self._takes = [name for name in ('t', 'labels') if name in taken]

    def score(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """What the score gives."""
        known = dict(t=t, labels=labels)
        told = {name: known[name] for name in self._takes}
        return self._score(in_type_of(self._score, x), **told)

    @property
    def num_classes(self) -> int | None:
        """How many classes the score tells apart, where it says."""
        return getattr(self._score, 'num_classes', None)

    @property
    def score_name(self) -> str:
        """What to call the score in an error."""
        named = self._score.func if isinstance(self._score, functools.partial) else self._score
        return getattr(named, '__name__', type(named).__name__)


def _from_registry(config: dict) -> Score:
    """A registered function with its arguments, or a module built from its config."""
    arguments = dict(config)
    name = arguments.pop('type')
    found: Any = MODELS.get(name) if isinstance(name, str) else name
    if not inspect.isclass(found):
        return functools.partial(found, **arguments)
    built: Any = found(**arguments)
    if isinstance(built, nn.Module):
        freeze(built)
    return built
