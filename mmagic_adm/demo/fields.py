"""The fields that say what to sample, and how they follow from one another."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gradio as gr

from mmagic_adm.apis.sampling import named_schedulers
from mmagic_adm.arguments import Argument
from mmagic_adm.demo.catalogue import ModelFacts, facts_of, offered_models, size_of_weights
from mmagic_adm.demo.entries import LONGEST_TEXT
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
from mmagic_adm.demo.order import OWN_SCHEDULER
from mmagic_adm.guidance import named_guidance

# Of ImageNet's thousand: golden retriever, hamster.
WELL_KNOWN = (207, 333)
FEW_CLASSES = 20

HINT = (
    'The first seed is counted up from image to image. An interval is two timesteps, such as '
    '500-1000, or shares of the process, such as 0.5-1: towards 0 there is an image, towards the '
    'end noise.'
)
# For what answers at once.
QUICK: dict[str, Any] = dict(queue=False, show_progress='hidden', api_visibility='private')

Settings = list[dict[str, Any]]


class Fields:
    """The fields, in the order in which :func:`~mmagic_adm.demo.order.read_order` takes them.

    Args:
        models: Names to choose a model from.
        model: The one that is chosen at first.
        own_weights: Whether weights of one's own may be given.
        seconds: How long an image took, by the model that made it.
    """

    def __init__(
        self,
        models: Collection[str],
        model: str,
        own_weights: bool,
        seconds: Mapping[str, float],
    ) -> None:
        self.models, self.seconds = models, seconds
        self.most = max(len(kind.arguments) for kind in named_guidance().values())
        facts = facts_of(model)
        classes, per_class, steps, scheduler = _of_model(facts)
        method, interval, *numbers = self._guided(facts)
        text: dict[str, Any] = dict(max_lines=1, max_length=LONGEST_TEXT)
        self.model = gr.Dropdown(
            [(offered_models().get(name, name), name) for name in models],
            value=model,
            label='Model',
            info=f'{len(models)} of them: type a part of a name.',
            elem_id='model',
        )
        self.about = gr.HTML(self._about(facts), elem_id='about')
        self.weights = gr.Textbox(
            label='Weights of your own',
            info='Path, URL or name of a checkpoint that fits this model.',
            visible=own_weights,
            elem_id='weights',
            **text,
        )
        self.classes = gr.Dropdown(multiselect=True, label='Classes', elem_id='classes', **classes)
        with gr.Row():
            self.per_class = gr.Number(1, min_width=100, elem_id='per-class', **per_class)
            self.seed = gr.Number(0, label='First seed', min_width=100, elem_id='seed')
        with gr.Row():
            self.steps = gr.Number(
                label='Steps',
                placeholder="the model's own",
                min_width=100,
                elem_id='steps',
                **steps,
            )
            self.scheduler = gr.Dropdown(
                label='Scheduler', min_width=100, elem_id='scheduler', **scheduler
            )
        self.method = gr.Dropdown(label='Guidance', elem_id='method', **method)
        self.numbers = [
            gr.Slider(elem_id=f'number-{i}', **slider) for i, slider in enumerate(numbers)
        ]
        self.interval = gr.Textbox(
            label='Interval', placeholder='all steps', elem_id='interval', **text, **interval
        )
        gr.HTML(f'<div class="adm-hint">{HINT}</div>', elem_id='hint')
        of_model = [self.classes, self.per_class, self.steps, self.scheduler]
        guided = [self.method, self.interval, *self.numbers]
        self.all = [self.model, self.weights, self.classes, self.per_class, self.seed, self.steps]
        self.all += [self.scheduler, *guided]
        # As it came: while choices are changing, a value may be none of them for a moment.
        quick = dict(QUICK, preprocess=False, trigger_mode='once')
        self.model.input(self._on_model, self.model, [self.about, *of_model, *guided], **quick)
        chosen = [self.model, self.scheduler, self.method]
        # What warns has to go through the queue.
        self.scheduler.select(
            self._on_scheduler, chosen, guided, **dict(quick, queue=True, concurrency_limit=None)
        )
        self.method.input(self._on_method, chosen, guided, **quick)

    def _on_model(self, model: str) -> list[Any]:
        facts = self._facts(model)
        return [self._about(facts), *_updates([*_of_model(facts), *self._guided(facts)])]

    def _on_scheduler(self, model: str, scheduler: str, method: str) -> list[Any]:
        choices, *others = self._guided(self._facts(model), scheduler, method)
        if choices['value'] == method:
            return [gr.update(**choices), *[gr.skip() for _ in others]]
        gr.Warning(
            f'{title(method)} guidance is not defined for {scheduler}; guidance is now: '
            f'{title(choices["value"])}'
        )
        return _updates([choices, *others])

    def _on_method(self, model: str, scheduler: str, method: str) -> list[Any]:
        return _updates(self._guided(self._facts(model), scheduler, method))

    def _facts(self, model: str) -> ModelFacts:
        if model not in self.models:
            raise gr.Error('There is no such model here', print_exception=False)
        return facts_of(model)

    def _about(self, facts: ModelFacts) -> str:
        size, classes, name = facts.image_size, len(facts.class_names), facts.name
        own = f'{_scheduler_title(facts)}, {facts.steps or "all"} steps'
        words = [f'{size}×{size}', *([f'{classes} classes'] if classes else [])]
        words += ['in stages' if facts.is_cascade else own, size_of_weights(name)]
        if name in self.seconds:
            words.append(f'{self.seconds[name]:.1f} s an image when last used')
        return f'<div class="adm-hint">{html.escape(" · ".join(words))}</div>'

    def _guided(
        self, facts: ModelFacts, scheduler: str = OWN_SCHEDULER, method: str | None = None
    ) -> Settings:
        """The guidance, its interval and its numbers, as they go with a model and a scheduler."""
        methods = methods_for(facts, None if scheduler == OWN_SCHEDULER else scheduler)
        method = next(each for each in (method, own_method(facts), NONE) if each in methods)
        choices = dict(choices=[(title(each), each) for each in methods], value=method)
        if method == NONE:
            return [choices, dict(value='', visible=False), *sliders((), self.most)]
        between = config_of(facts, method).get('interval')
        interval = dict(
            value='' if between is None else f'{between[0]:g}-{between[1]:g}',
            visible=takes_interval(facts, method),
        )
        # The stages of a cascade are told how strongly, and no more.
        arguments = kind_of(method).arguments[: 1 if facts.is_cascade else None]
        return [choices, interval, *sliders(arguments, self.most, usual_numbers(facts, method))]


def sliders(
    arguments: Sequence[Argument], most: int, values: Mapping[str, float] | None = None
) -> Settings:
    """Sliders for a method's numbers, as it describes them; those that it has no use for are gone.

    Args:
        arguments: The numbers.
        most: How many sliders there are.
        values: Where they are, if not where the method puts them by itself.
    """
    values = values or {each.name: each.default for each in arguments}
    shown: Settings = [
        dict(
            label=each.name.replace('_', ' ').capitalize(),
            info=each.says,
            minimum=each.low,
            maximum=max(each.high, values[each.name]),
            step=1 if isinstance(each.default, int) else 0.01,
            value=values[each.name],
            visible=True,
        )
        for each in arguments
    ]
    return shown + [dict(visible=False)] * (most - len(shown))


def _updates(settings: Settings) -> list[Any]:
    return [gr.update(**each) for each in settings]


def _of_model(facts: ModelFacts) -> Settings:
    """Classes, how many of each, steps and scheduler, as they go with a model."""
    names = facts.class_names
    classes = [
        (name if name == str(label) else f'{name} ({label})', label)
        for label, name in enumerate(names)
    ]
    chosen = list(range(len(names))) if len(names) <= FEW_CLASSES else list(WELL_KNOWN)
    own = 'in stages' if facts.is_cascade else _scheduler_title(facts)
    # Among the named ones is the model's own, which is not listed a second time.
    others = [(name, name) for name in named_schedulers() if name != own]
    return [
        dict(choices=classes, value=chosen, visible=bool(names)),
        dict(label='Images per class' if names else 'Images'),
        dict(value=facts.steps if isinstance(facts.steps, int) else None),
        dict(choices=[(f'{own} (own)', OWN_SCHEDULER), *others], value=OWN_SCHEDULER),
    ]


def _scheduler_title(facts: ModelFacts) -> str:
    config = facts.scheduler or {}
    own = config.get('type_', config.get('type', ''))
    short = {kind: name for name, kind in named_schedulers().items()}
    return short.get(own, own.removesuffix('Scheduler'))
