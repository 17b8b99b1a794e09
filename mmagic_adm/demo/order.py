"""What a visitor asks for, in the words of ``init_model`` and ``sample``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmagic_adm.apis.sampling import named_schedulers
from mmagic_adm.demo.catalogue import ModelFacts, facts_of
from mmagic_adm.demo.entries import (
    check_count,
    read_interval,
    read_numbers,
    read_scales,
    read_text,
    read_whole,
)
from mmagic_adm.demo.methods import (
    NONE,
    changed_arguments,
    kind_of,
    methods_for,
    takes_interval,
    title,
    usual_numbers,
)
from mmagic_adm.diffusion.randomness import MAX_SEED
from mmagic_adm.guidance import Need

if TYPE_CHECKING:
    from mmagic_adm.demo.hole import Hole

MAX_STEPS = 1000

# The scheduler that a model is configured with.
OWN_SCHEDULER = 'own'


@dataclass(frozen=True)
class Order:
    """Samples to make.

    Attributes:
        model: Name of its config, or path.
        weights: Path, URL or name of weights in the place of its own; '' leaves those.
        changes: Arguments of the model that differ from its config, for ``init_model``.
        labels: Classes, repeated over the samples; none for a model without classes.
        count: How many samples, at each scale of a sweep.
        seed: Seed of the first.
        steps: As ``sample`` takes it, as are the next three.
        scheduler: Likewise.
        scale: Likewise.
        trajectory: Likewise.
        scales: Guidance scales to make each sample at, in place of its own.
        hole: What to fill in a picture.
    """

    model: str
    weights: str
    changes: Mapping[str, Any]
    labels: tuple[int, ...]
    count: int
    seed: int
    steps: int | None
    scheduler: str | None
    scale: float | None
    trajectory: int | None = None
    scales: tuple[float, ...] = ()
    hole: Hole | None = field(default=None, compare=False)

    @property
    def facts(self) -> ModelFacts:
        """What is known of the model."""
        return facts_of(self.model)

    @property
    def each(self) -> dict[str, Any]:
        """What belongs to each sample; those that differ in their scale alone follow each other."""
        at_each = max(len(self.scales), 1)
        seeds = range(self.seed, self.seed + self.count)
        labels = [self.labels[i % len(self.labels)] for i in range(self.count) if self.labels]
        return dict(
            labels=[label for label in labels for _ in range(at_each)] or None,
            seeds=[seed for seed in seeds for _ in range(at_each)],
            scale=list(self.scales) * self.count if self.scales else self.scale,
        )


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
    scales: Any = None,
    **more: Any,
) -> Order:
    """An order from what stands in the fields of the page.

    Raises:
        ValueError: A field makes no sense; the message names it, and the way out.
    """
    facts = facts_of(model)
    if (weights := read_text(weights, 'the weights')) and facts.is_cascade:
        raise ValueError('a model in stages takes no weights of yours: choose one without')
    labels = _labels(facts, classes)
    each = read_whole(per_class, 'images per class' if labels else 'images', 1)
    count = each * max(len(labels), 1)
    asked = f'{len(labels)} classes with {each} images each' if labels else f'{each} images'
    check_count(count, asked)
    named: str | None = read_text(scheduler, 'the scheduler')
    named = None if named in ('', OWN_SCHEDULER) else named
    if named is not None and named not in (there := named_schedulers()):
        raise ValueError(f'no scheduler is called {named!r}; there are {", ".join(there)}')
    method = read_text(method, 'the guidance') or NONE
    if method not in (offered := methods_for(facts, named)):
        raise ValueError(
            f'guidance by {method!r} does not go with {facts.name} under '
            f'{named or "its own scheduler"}; it takes {", ".join(offered)}'
        )
    given, between = _guided(facts, method, interval, numbers) if method != NONE else ({}, None)
    changes = changed_arguments(facts, method, given, between, named)
    guides_itself = facts.is_cascade or Need.CLASSIFIER in facts.offers
    return Order(
        model=model,
        weights=weights,
        changes=changes,
        labels=labels,
        count=count,
        seed=read_whole(seed, 'the first seed', 0, MAX_SEED - count + 1),
        steps=None if steps in (None, '') else _steps(facts, steps),
        scheduler=None if 'diffusion_scheduler' in changes else named,
        scale=given.get('scale', 0 if method == NONE and guides_itself else None),
        scales=() if scales is None else _scales(facts, method, scales, count),
        **more,
    )


def _labels(facts: ModelFacts, classes: Any) -> tuple[int, ...]:
    if not facts.class_names:
        return ()
    if not classes or not isinstance(classes, list):
        raise ValueError('choose at least one class')
    last = len(facts.class_names) - 1
    return tuple(read_whole(each, 'a class', 0, last) for each in classes)


def _steps(facts: ModelFacts, steps: Any) -> int:
    trained = (
        MAX_STEPS if facts.is_cascade else facts.built_scheduler.full_process.num_train_timesteps
    )
    return read_whole(steps, 'the number of steps', 1, min(MAX_STEPS, trained))


def _guided(
    facts: ModelFacts, method: str, interval: Any, numbers: Any
) -> tuple[dict[str, float], tuple[float, float] | None]:
    """Numbers of guidance, and when it acts; the model's own may be outside the usual range."""
    usual = usual_numbers(facts, method)
    ranges = [
        each._replace(low=min(each.low, usual[each.name]), high=max(each.high, usual[each.name]))
        for each in kind_of(method).arguments
    ]
    if takes_interval(facts, method):
        between = read_interval(interval, facts.last_timestep)
    elif read_text(interval, 'the interval'):
        raise ValueError(f'{title(method)} of {facts.name} takes no interval: leave it empty')
    else:
        between = None
    return {**usual, **read_numbers(ranges, numbers)}, between


def _scales(facts: ModelFacts, method: str, scales: Any, count: int) -> tuple[float, ...]:
    if method == NONE:
        raise ValueError('without guidance there is nothing to sweep: choose a guidance')
    if facts.is_cascade:
        raise ValueError('a model in stages is not swept: choose one without')
    return read_scales(scales, count)
