"""The guidance that goes with a model and a scheduler, as the classes of guidance say it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from mmagic_adm.apis.sampling import scheduler_named
from mmagic_adm.demo.catalogue import ModelFacts
from mmagic_adm.guidance import Guidance, Need, named_guidance
from mmagic_adm.guidance.base import OUTSIDE_STEPS
from mmagic_adm.guidance.source import guidance_config
from mmagic_adm.models.scheduler_choice import TRAINED_PROCESS
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS
from mmagic_adm.schedulers import DiscreteScheduler

NONE = 'none'


def kind_of(name: str) -> type[Guidance]:
    """The class of guidance of a short name, or of its own."""
    return named_guidance().get(name) or MODELS.get(name)


def own_method(facts: ModelFacts) -> str:
    """The guidance that a model is configured with, by its short name."""
    if facts.own_guidance is None:
        return NONE
    kind = kind_of(facts.own_guidance['type'])
    return vars(kind).get('short_name') or kind.__name__


def methods_for(facts: ModelFacts, scheduler: str | None = None) -> list[str]:
    """What is defined for a model under a scheduler; None is the model's own."""
    own = own_method(facts)
    if facts.is_cascade:
        return list(dict.fromkeys([NONE, own]))
    names = [name for name, kind in named_guidance().items() if kind.requires <= facts.offers]
    listed = dict.fromkeys([*names, own])
    listed.pop(NONE, None)
    sampler: Any = facts.built_scheduler
    taken = set(OUTSIDE_STEPS) | sampler.guided_by
    if scheduler is not None:
        sampler = DIFFUSION_SCHEDULERS.get(scheduler_named(scheduler)['type'])
        # What only another scheduler takes asks for a process that both can walk.
        is_discrete = isinstance(facts.built_scheduler, DiscreteScheduler)
        taken = OUTSIDE_STEPS | sampler.guided_by & (sampler.guided_by if is_discrete else taken)
    if sampler.is_of_ends:
        taken -= OUTSIDE_STEPS
    return [NONE, *(name for name in listed if kind_of(name).forms <= taken)]


def title(name: str) -> str:
    """What a method is called on the page: 'Classifier free (cfg)'."""
    if name == NONE:
        return 'None'
    plain = kind_of(name).__name__.removesuffix('Guidance')
    words = re.sub('(?<=[a-z])(?=[A-Z])', ' ', plain).capitalize()
    return words if words.lower().replace(' ', '-') == name else f'{words} ({name})'


def config_of(facts: ModelFacts, name: str) -> dict[str, Any]:
    """Config of guidance: the model's own if it is that, else its name."""
    return dict(facts.own_guidance or {}) if name == own_method(facts) else dict(type=name)


def usual_numbers(facts: ModelFacts, name: str) -> dict[str, float]:
    """The numbers that guidance has where nothing else is said."""
    kind, config = kind_of(name), guidance_config(config_of(facts, name))
    if facts.is_cascade or Need.CLASSIFIER in kind.requires:
        config.setdefault('scale', facts.classifier_scale)
    return {each.name: config.get(each.name, each.default) for each in kind.arguments}


def takes_interval(facts: ModelFacts, name: str) -> bool:
    """Whether guidance can be told between which timesteps to act."""
    has_pace = name != NONE and 'pace' in inspect.signature(kind_of(name)).parameters
    return has_pace and not facts.is_cascade


def changed_arguments(
    facts: ModelFacts,
    name: str,
    numbers: Mapping[str, float],
    interval: tuple[float, float] | None,
    scheduler: str | None,
) -> dict[str, Any]:
    """Arguments of a model that differ from its config when it is guided so.

    The scale and the scheduler are left to ``sample``, but for a scheduler without which the
    method is not defined.
    """
    if facts.is_cascade:
        return {}
    if name == NONE:
        return {} if facts.guidance is None else dict(guidance=None)
    usual, wanted = usual_numbers(facts, name), config_of(facts, name)
    for number, value in numbers.items():
        if number != 'scale' and value != usual[number]:
            wanted[number] = value
    wanted.pop('interval', None)
    if interval is not None:
        wanted['interval'] = interval
    changed: dict[str, Any] = {}
    if wanted != facts.own_guidance:
        changed['guidance'] = wanted if len(wanted) > 1 else name
    if name not in methods_for(facts):
        own, trained = facts.scheduler or {}, ('beta_schedule', *TRAINED_PROCESS)
        kept = {argument: own[argument] for argument in trained if argument in own}
        changed['diffusion_scheduler'] = scheduler_named(scheduler or '') | kept
    return changed
