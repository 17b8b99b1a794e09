"""What a visitor asks for, checked before any work."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmagic_adm.apis.sampling import named_schedulers, scheduler_named
from mmagic_adm.arguments import Argument
from mmagic_adm.demo.catalogue import ModelFacts, facts_of
from mmagic_adm.demo.methods import (
    NONE,
    config_of,
    kind_of,
    methods_for,
    own_method,
    takes_interval,
    title,
    usual_numbers,
)
from mmagic_adm.diffusion.randomness import MAX_SEED
from mmagic_adm.guidance import Need
from mmagic_adm.models.scheduler_choice import TRAINED_PROCESS

if TYPE_CHECKING:
    from mmagic_adm.demo.hole import Hole

MAX_IMAGES = 100
MAX_STEPS = 1000

# The scheduler that a model is configured with.
OWN_SCHEDULER = 'own'

# What a field may hold; nothing that a person writes there is longer.
LONGEST_TEXT = 200


@dataclass(frozen=True)
class Order:
    """Samples to make.

    Attributes:
        model: Name of its config, or path.
        weights: Path, URL or name of weights in the place of its own; '' leaves those.
        labels: Classes, repeated over the samples; none for a model without classes.
        count: How many samples.
        seed: Seed of the first.
        steps: Steps to take; None takes the model's own.
        scheduler: Name of a scheduler; None is the model's own.
        method: Name of the guidance.
        numbers: Its numbers, by their names.
        interval: Timesteps between which it acts; None is all.
        scales: Guidance scales to make all samples at, in place of its own.
        every: Keep every so many steps as a trajectory.
        hole: What to fill in a picture.
    """

    model: str
    weights: str
    labels: tuple[int, ...]
    count: int
    seed: int
    steps: int | None
    scheduler: str | None
    method: str
    numbers: Mapping[str, float]
    interval: tuple[float, float] | None
    scales: tuple[float, ...] = ()
    every: int | None = None
    hole: Hole | None = field(default=None, compare=False)

    @property
    def facts(self) -> ModelFacts:
        """What is known of the model."""
        return facts_of(self.model)

    @property
    def changes(self) -> dict[str, Any]:
        """Arguments of the model that differ from its config, for ``init_model``.

        The scheduler is among them where the method is not defined under the model's own;
        elsewhere it is left to ``sample``.
        """
        facts = self.facts
        if facts.is_cascade:
            return {}
        if self.method == NONE:
            return {} if facts.guidance is None else dict(guidance=None)
        usual, wanted = usual_numbers(facts, self.method), config_of(facts, self.method)
        for name, value in self.numbers.items():
            if name != 'scale' and value != usual[name]:
                wanted[name] = value
        wanted.pop('interval', None)
        if self.interval is not None:
            wanted['interval'] = self.interval
        changed: dict[str, Any] = {}
        if wanted != facts.own_guidance:
            changed['guidance'] = wanted if len(wanted) > 1 else self.method
        is_own = self.method == own_method(facts)
        if not is_own and Need.CLASSIFIER in facts.offers - kind_of(self.method).requires:
            changed['classifier'] = None
        if self.method not in methods_for(facts):
            own, trained = facts.scheduler or {}, ('beta_schedule', *TRAINED_PROCESS)
            kept = {name: own[name] for name in trained if name in own}
            changed['diffusion_scheduler'] = scheduler_named(self.scheduler or '') | kept
        return changed

    @property
    def scheduler_to_give(self) -> str | None:
        """The scheduler as ``sample`` takes it; None where the model is built with it."""
        return None if 'diffusion_scheduler' in self.changes else self.scheduler

    @property
    def scale_to_give(self) -> float | None:
        """The scale as ``sample`` takes it; 0 where the model would be guided by itself."""
        guides_itself = self.facts.is_cascade or Need.CLASSIFIER in self.facts.offers
        return 0.0 if self.method == NONE and guides_itself else self.numbers.get('scale')


def read_order(
    model: str,
    weights: Any,
    classes: Any,
    per_class: Any,
    seed: Any,
    steps: Any,
    scheduler: Any,
    method: Any,
    interval: Any,
    *numbers: Any,
    **more: Any,
) -> Order:
    """An order from what stands in the fields of the page.

    Raises:
        ValueError: A field makes no sense; the message names it, and the way out.
    """
    facts = facts_of(model)
    if (weights := text_in(weights, 'the weights')) and facts.is_cascade:
        raise ValueError('a model in stages takes no weights of yours: choose one without')
    labels = _labels(facts, classes)
    each = whole_number(per_class, 'images per class' if labels else 'images', 1)
    count = each * max(len(labels), 1)
    if count > MAX_IMAGES:
        asked = f'{len(labels)} classes with {each} images each' if labels else f'{each} images'
        raise ValueError(f'{asked}: a run makes up to {MAX_IMAGES} images, not {count}')
    named: str | None = text_in(scheduler, 'the scheduler')
    named = None if named in ('', OWN_SCHEDULER) else named
    if named is not None and named not in (there := named_schedulers()):
        raise ValueError(f'no scheduler is called {named!r}; there are {", ".join(there)}')
    method = text_in(method, 'the guidance') or NONE
    offered = methods_for(facts, named)
    if method not in offered:
        raise ValueError(
            f'guidance by {method!r} does not go with {facts.name} under '
            f'{named or "its own scheduler"}; it takes {", ".join(offered)}'
        )
    is_guided = method != NONE
    return Order(
        model=model,
        weights=weights,
        labels=labels,
        count=count,
        seed=whole_number(seed, 'the first seed', 0, MAX_SEED - count + 1),
        steps=_steps(facts, steps),
        scheduler=named,
        method=method,
        numbers=_numbers_of(facts, method, numbers) if is_guided else {},
        interval=read_interval(facts, interval, method) if is_guided else None,
        **more,
    )


def read_interval(facts: ModelFacts, field: Any, method: str) -> tuple[float, float] | None:
    """Timesteps from '500-1000', or from shares of the process: '0.5-1'; None from nothing."""
    if not (text := text_in(field, 'the interval')):
        return None
    if not takes_interval(facts, method):
        raise ValueError(f'{title(method)} of {facts.name} takes no interval: leave it empty')
    last = facts.last_timestep
    try:
        low, high = map(float, re.split(r'(?:[\s,–-]|to)+', text.strip('([ ])')))
    except ValueError:
        raise ValueError(
            f'the interval is two timesteps such as 500-{last:g}, or shares of the process such as '
            f'0.5-1, not {text!r}'
        ) from None
    if 0 <= low <= high <= 1:
        low, high = low * last, high * last
    if not 0 <= low <= high <= last:
        raise ValueError(
            f'the interval goes up, and lies between 0 and {last:g}; {low:g} to {high:g} does not'
        )
    return number(low, 'low'), number(high, 'high')


def read_scales(field: Any, images_each: int) -> tuple[float, ...]:
    """Guidance scales from '0, 1, 2', each once, in their order."""
    words = [word for word in re.split(r'[,;\s]+', text_in(field, 'the scales')) if word]
    scales = tuple(dict.fromkeys(number(word, 'a guidance scale') for word in words))
    if not scales:
        raise ValueError('the sweep needs at least one scale: 0, 1, 2, for example')
    if len(scales) * images_each > MAX_IMAGES:
        raise ValueError(
            f'{len(scales)} scales with {images_each} images each: a run makes up to {MAX_IMAGES} '
            f'images, not {len(scales) * images_each}'
        )
    return scales


def text_in(field: Any, what: str) -> str:
    """The text that stands in a field, without the space around it."""
    text = '' if field is None else field
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise ValueError(f'{what} is a text of up to {LONGEST_TEXT} characters')
    return text.strip()


def read_numbers(arguments: Sequence[Argument], fields: Sequence[Any]) -> dict[str, float]:
    """A method's numbers from their fields, each within the range that the method gives for it."""
    return {
        each.name: number(value, each.name, each.low, each.high, isinstance(each.default, int))
        for each, value in zip(arguments, fields, strict=False)
    }


def whole_number(value: Any, what: str, low: int, high: float = math.inf) -> int:
    """The whole number that stands in a field, between limits."""
    return int(number(value, what, low, high, is_whole=True))


def number(
    value: Any,
    what: str,
    low: float = -math.inf,
    high: float = math.inf,
    is_whole: bool = False,
) -> float:
    """The number that stands in a field, between limits; a whole one without its point."""
    try:
        given = float(value)
    except (TypeError, ValueError, OverflowError):
        given = math.nan
    is_number = math.isfinite(given) and low <= given <= high
    if is_number and given == int(given):
        return int(given)
    if is_number and not is_whole:
        return given
    upwards = ' on' if high == math.inf else f' to {high:.15g}'
    limits = '' if low == -math.inf else f' from {low:.15g}{upwards}'
    shown = 'nothing' if value in (None, '') else reprlib.repr(value)
    raise ValueError(f'{what} is a {"whole " * is_whole}number{limits}, not {shown}')


def _labels(facts: ModelFacts, classes: Any) -> tuple[int, ...]:
    if not facts.class_names:
        return ()
    if not classes or not isinstance(classes, list):
        raise ValueError('choose at least one class')
    last = len(facts.class_names) - 1
    return tuple(whole_number(each, 'a class', 0, last) for each in classes)


def _numbers_of(facts: ModelFacts, method: str, fields: Sequence[Any]) -> dict[str, float]:
    """Numbers of guidance; the model's own may be outside the usual range."""
    usual = usual_numbers(facts, method)
    ranges = [
        each._replace(low=min(each.low, usual[each.name]), high=max(each.high, usual[each.name]))
        for each in kind_of(method).arguments
    ]
    return {**usual, **read_numbers(ranges, fields)}


def _steps(facts: ModelFacts, steps: Any) -> int | None:
    if steps is None or steps == '':
        return None
    trained = (
        MAX_STEPS if facts.is_cascade else facts.built_scheduler.full_process.num_train_timesteps
    )
    return whole_number(steps, 'the number of steps', 1, min(MAX_STEPS, trained))
