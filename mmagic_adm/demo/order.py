"""What a visitor asks for, checked before any work."""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass
from typing import Any, cast

from mmagic_adm.apis.sampling import SCHEDULERS
from mmagic_adm.demo.catalogue import ModelFacts, facts_of
from mmagic_adm.demo.methods import NONE, TITLES, changes, methods_for
from mmagic_adm.diffusion.randomness import MAX_SEED

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
        labels: Classes, repeated over the samples; none for a model without classes.
        count: How many samples.
        seed: Seed of the first.
        steps: Steps to take; None takes the model's own.
        scheduler: Name of a scheduler; None is the model's own.
        method: One of the guidance methods.
        scale: Its scale; None where nothing guides.
        interval: Timesteps between which it acts; None is all.
    """

    model: str
    labels: tuple[int, ...]
    count: int
    seed: int
    steps: int | None
    scheduler: str | None
    method: str
    scale: float | None
    interval: tuple[float, float] | None

    @property
    def facts(self) -> ModelFacts:
        """What is known of the model."""
        return facts_of(self.model)

    @property
    def changes(self) -> dict[str, Any]:
        """Arguments of the model that differ from its config, for ``init_model``."""
        return changes(self.facts, self.method, self.interval, self.scheduler)

    @property
    def scheduler_to_give(self) -> str | None:
        """The scheduler as ``sample`` takes it; None where the model is built with it."""
        return None if 'diffusion_scheduler' in self.changes else self.scheduler

    @property
    def scale_to_give(self) -> float | None:
        """The scale as ``sample`` takes it; 0 where the model would be guided by itself."""
        guides_itself = self.facts.has_classifier or self.facts.is_cascade
        return 0.0 if self.method == NONE and guides_itself else self.scale


def read_order(
    model: str,
    classes: Any,
    per_class: Any,
    seed: Any,
    steps: Any,
    scheduler: Any,
    method: Any,
    scale: Any,
    interval: Any,
) -> Order:
    """An order from what stands in the fields of the page.

    Raises:
        ValueError: A field makes no sense; the message names it, and the way out.
    """
    facts = facts_of(model)
    labels = _labels(facts, classes)
    each = whole_number(per_class, 'images per class' if labels else 'images', 1)
    count = each * max(len(labels), 1)
    if count > MAX_IMAGES:
        asked = f'{len(labels)} classes with {each} images each' if labels else f'{each} images'
        raise ValueError(f'{asked}: a run makes up to {MAX_IMAGES} images, not {count}')
    named = text_in(scheduler, 'the scheduler')
    chosen = None if named in ('', OWN_SCHEDULER) else named
    if chosen is not None and chosen not in SCHEDULERS:
        raise ValueError(f'no scheduler is called {chosen!r}; there are {", ".join(SCHEDULERS)}')
    method = _method(facts, chosen, text_in(method, 'the guidance'))
    guided = method != NONE
    return Order(
        model=model,
        labels=labels,
        count=count,
        seed=whole_number(seed, 'the first seed', 0, MAX_SEED - count + 1),
        steps=_steps(facts, steps),
        scheduler=chosen,
        method=method,
        scale=finite_number(scale, 'the guidance scale') if guided else None,
        interval=read_interval(facts, interval) if guided else None,
    )


def read_interval(facts: ModelFacts, field: Any) -> tuple[float, float] | None:
    """Timesteps from '500-1000', or from shares of the process: '0.5-1'; None from nothing."""
    text = text_in(field, 'the interval')
    if not text:
        return None
    if facts.is_cascade:
        raise ValueError(
            'the stages of a cascade have guidance of their own: leave the interval empty'
        )
    last = facts.last_timestep
    numbers = [_number(word) for word in re.split(r'(?:[\s,–-]|to)+', text.strip('([ ])'))]
    if len(numbers) != 2 or None in numbers:
        raise ValueError(
            f'the interval is two timesteps such as 500-{last:g}, or shares of the process such as '
            f'0.5-1, not {text!r}'
        )
    low, high = cast('list[float]', numbers)
    if 0 <= low <= high <= 1:
        low, high = low * last, high * last
    if not 0 <= low <= high <= last:
        raise ValueError(
            f'the interval goes up, and lies between 0 and {last:g}; {low:g} to {high:g} does not'
        )
    return _plain(low), _plain(high)


def read_scales(field: Any, images_each: int) -> list[float]:
    """Guidance scales from '0, 1, 2', each once, in their order."""
    words = [word for word in re.split(r'[,;\s]+', text_in(field, 'the scales')) if word]
    scales = list(dict.fromkeys(finite_number(word, 'a guidance scale') for word in words))
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


def whole_number(value: Any, what: str, low: int, high: int | None = None) -> int:
    """The whole number that stands in a field, between limits."""
    limits = f'from {low} on' if high is None else f'from {low} to {high}'
    number = _number(value)
    if number is None or number != int(number) or number < low or (high and number > high):
        raise ValueError(f'{what} is a whole number {limits}, not {_shown(value)}')
    return int(number)


def finite_number(value: Any, what: str) -> float:
    """The number that stands in a field."""
    number = _number(value)
    if number is None:
        raise ValueError(f'{what} is a number, not {_shown(value)}')
    return _plain(number)


def _labels(facts: ModelFacts, classes: Any) -> tuple[int, ...]:
    if facts.num_classes is None:
        return ()
    if not classes or not isinstance(classes, list):
        raise ValueError('choose at least one class')
    return tuple(whole_number(each, 'a class', 0, facts.num_classes - 1) for each in classes)


def _method(facts: ModelFacts, scheduler: str | None, method: str | None) -> str:
    method = method or NONE
    if method in methods_for(facts, scheduler):
        return method
    offered = ', '.join(TITLES[each].lower() for each in methods_for(facts, scheduler))
    raise ValueError(
        f'{TITLES.get(method, method).lower()} guidance does not go with {facts.name} under '
        f'{scheduler or "its own scheduler"}; it takes {offered}'
    )


def _steps(facts: ModelFacts, steps: Any) -> int | None:
    if steps is None or steps == '':
        return None
    trained = (
        MAX_STEPS if facts.is_cascade else facts.built_scheduler.full_process.num_train_timesteps
    )
    return whole_number(steps, 'the number of steps', 1, min(MAX_STEPS, trained))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _shown(value: Any) -> str:
    if value is None or value == '':
        return 'nothing'
    return f'{value:g}' if isinstance(value, float) else reprlib.repr(value)


def _plain(number: float) -> float:
    """A whole number without its point, as a person would write it."""
    return int(number) if number == int(number) else number
