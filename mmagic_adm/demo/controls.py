"""The fields that say what to sample, and how they follow from one another."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

from mmagic_adm.apis.sampling import SCHEDULERS
from mmagic_adm.demo.catalogue import ModelFacts, facts_of
from mmagic_adm.demo.methods import (
    NONE,
    TITLES,
    methods_for,
    own_method,
    usual_interval,
    usual_scale,
)
from mmagic_adm.demo.order import LONGEST_TEXT, OWN_SCHEDULER

# Of ImageNet's thousand: golden retriever, hamster.
WELL_KNOWN = (207, 333)
FEW_CLASSES = 20


class Controls:
    """The fields, in the order in which :func:`~mmagic_adm.demo.order.read_order` takes them.

    Args:
        models: Names to choose a model from.
        model: The one that is chosen at first.
    """

    def __init__(self, models: Sequence[str], model: str) -> None:
        facts = facts_of(model)
        self.models = tuple(models)
        self.model = gr.Dropdown(list(models), value=model, label='Model', elem_id='model')
        self.about = gr.HTML(_about(facts), elem_id='about')
        self.classes = gr.Dropdown(
            multiselect=True, label='Classes', elem_id='classes', **_class_choices(facts)
        )
        with gr.Row():
            self.per_class = gr.Number(
                1, label=_count_label(facts), precision=None, min_width=100, elem_id='per-class'
            )
            self.seed = gr.Number(0, label='First seed', min_width=100, elem_id='seed')
        with gr.Row():
            self.steps = gr.Number(
                _number_of_steps(facts),
                label='Steps',
                placeholder="the model's own",
                min_width=100,
                elem_id='steps',
            )
            self.scheduler = gr.Dropdown(
                label='Scheduler',
                min_width=100,
                elem_id='scheduler',
                **_scheduler_choices(facts),
            )
        self.method = gr.Dropdown(
            label='Guidance', elem_id='method', **_method_choices(facts, OWN_SCHEDULER, None)
        )
        with gr.Row():
            scale, interval = _strength(facts, own_method(facts))
            self.scale = gr.Number(label='Scale', min_width=100, elem_id='scale', **scale)
            self.interval = gr.Textbox(
                label='Interval',
                placeholder='all steps',
                max_lines=1,
                max_length=LONGEST_TEXT,
                min_width=100,
                elem_id='interval',
                **interval,
            )
        gr.HTML(
            '<div class="adm-hint">The first seed is counted up from image to image. An interval '
            'is two timesteps, such as 500-1000, or shares of the process, such as 0.5-1: towards '
            '0 there is an image, towards the end noise.</div>',
            elem_id='hint',
        )
        self._follow_choices()

    @property
    def fields(self) -> list[Any]:
        """The fields."""
        return [
            self.model,
            self.classes,
            self.per_class,
            self.seed,
            self.steps,
            self.scheduler,
            self.method,
            self.scale,
            self.interval,
        ]

    def _follow_choices(self) -> None:
        """Keeps the fields to what goes with those before them."""
        # As it came: while choices are changing, a value may be none of them for a moment.
        quick: dict[str, Any] = dict(
            preprocess=False,
            concurrency_limit=None,
            trigger_mode='once',
            show_progress='hidden',
            api_visibility='private',
        )
        strength: list[Any] = [self.scale, self.interval]
        self.model.input(
            self._on_model,
            self.model,
            [self.about, self.classes, self.per_class, self.steps, self.scheduler, self.method]
            + strength,
            **quick,
        )
        self.scheduler.select(
            self._on_scheduler,
            [self.model, self.scheduler, self.method],
            [self.method, *strength],
            **quick,
        )
        self.method.input(self._on_method, [self.model, self.method], strength, **quick)

    def _on_model(self, model: str) -> list[Any]:
        facts = self._facts(model)
        scale, interval = _strength(facts, own_method(facts))
        return [
            _about(facts),
            gr.update(**_class_choices(facts)),
            gr.update(label=_count_label(facts)),
            gr.update(value=_number_of_steps(facts)),
            gr.update(**_scheduler_choices(facts)),
            gr.update(**_method_choices(facts, OWN_SCHEDULER, None)),
            gr.update(**scale),
            gr.update(**interval),
        ]

    def _on_scheduler(self, model: str, scheduler: str, method: str) -> list[Any]:
        facts = self._facts(model)
        choices = _method_choices(facts, scheduler, method)
        if choices['value'] == method:
            return [gr.update(**choices), gr.skip(), gr.skip()]
        gr.Warning(
            f'{TITLES[method]} guidance is not defined for {scheduler}; guidance is now: '
            f'{TITLES[choices["value"]].lower()}'
        )
        scale, interval = _strength(facts, choices['value'])
        return [gr.update(**choices), gr.update(**scale), gr.update(**interval)]

    def _on_method(self, model: str, method: str) -> list[Any]:
        scale, interval = _strength(self._facts(model), method)
        return [gr.update(**scale), gr.update(**interval)]

    def _facts(self, model: str) -> ModelFacts:
        if model not in self.models:
            raise gr.Error('There is no such model here', print_exception=False)
        return facts_of(model)


def _about(facts: ModelFacts) -> str:
    words = [f'{facts.image_size}×{facts.image_size}']
    if facts.num_classes:
        words.append(f'{facts.num_classes} classes')
    if facts.scheduler is not None:
        words.append(f'{_scheduler_title(facts)}, {facts.steps or "all"} steps')
    else:
        words.append('in stages')
    words.append('bundled' if facts.is_bundled else 'fetched on first use')
    return f'<div class="adm-hint">{html.escape(" · ".join(words))}</div>'


def _count_label(facts: ModelFacts) -> str:
    return 'Images per class' if facts.num_classes else 'Images'


def _number_of_steps(facts: ModelFacts) -> int | None:
    """The model's steps, where they are a number; an empty field is its own, too."""
    return facts.steps if isinstance(facts.steps, int) else None


def _class_choices(facts: ModelFacts) -> dict[str, Any]:
    names = facts.class_names
    choices = [
        (name if name == str(label) else f'{name} ({label})', label)
        for label, name in enumerate(names)
    ]
    chosen = list(range(len(names))) if len(names) <= FEW_CLASSES else list(WELL_KNOWN)
    return dict(choices=choices, value=chosen, visible=bool(names))


def _scheduler_choices(facts: ModelFacts) -> dict[str, Any]:
    own = 'own' if facts.is_cascade else f'{_scheduler_title(facts)} (own)'
    others = [(name, name) for name in SCHEDULERS]
    return dict(choices=[(own, OWN_SCHEDULER), *others], value=OWN_SCHEDULER)


def _scheduler_title(facts: ModelFacts) -> str:
    config = facts.scheduler or {}
    name = config.get('type_', config.get('type', ''))
    return str(name).removesuffix('Scheduler')


def _method_choices(facts: ModelFacts, scheduler: str, current: str | None) -> dict[str, Any]:
    methods = methods_for(facts, None if scheduler == OWN_SCHEDULER else scheduler)
    value = next(each for each in (current, own_method(facts), NONE) if each in methods)
    return dict(choices=[(TITLES[method], method) for method in methods], value=value)


def _strength(facts: ModelFacts, method: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scale and interval as they are for a method; neither is there where nothing guides."""
    if method == NONE:
        return dict(visible=False), dict(value='', visible=False)
    between = usual_interval(facts, method)
    text = '' if between is None else f'{between[0]:g}-{between[1]:g}'
    scale = dict(value=usual_scale(facts, method), visible=True)
    return scale, dict(value=text, visible=not facts.is_cascade)
