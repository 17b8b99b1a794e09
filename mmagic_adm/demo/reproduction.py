"""What is on the page, as Python and as a command."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmagic_adm.demo.hole import Hole
from mmagic_adm.demo.order import Order

PYTHON_WIDTH = 64
SHELL_WIDTH = 84


def as_python(
    order: Order,
    device: str | None = None,
    scales: Sequence[float] | None = None,
    every: int | None = None,
) -> str:
    """Python that makes the same samples.

    Args:
        order: What they were made by.
        device: Where, if it was said.
        scales: The scales of a sweep.
        every: Every so many steps were kept as a trajectory.

    Returns:
        A script that leaves them in ``samples``, with the steps in ``samples.trajectory``; and
        those of a sweep in ``sweep``, by their scales.
    """
    model = _call('init_model', order.model, **_given(device=device), **order.changes)
    if scales is not None:
        arguments = {**_sample_arguments(order), 'scale': _Name('scale')}
        call = _call('sample', _Name('model'), **arguments).replace('\n', '\n    ')
        scales_shown = ', '.join(map(str, scales))
        lines = [
            'sweep = {}',
            f'for scale in [{scales_shown}]:',
            f'    sweep[scale] = {call}',
        ]
    else:
        kept = _given(trajectory=every)
        call = _call('sample', _Name('model'), **_sample_arguments(order), **kept)
        lines = [f'samples = {call}']
    begin = ['from mmagic_adm.apis import init_model, sample', '', f'model = {model}']
    return '\n'.join([*begin, *_names_of_labels(order), *lines, ''])


def as_command(
    order: Order,
    out: str,
    device: str | None = None,
    scales: Sequence[float] | None = None,
    every: int | None = None,
) -> str:
    """A shell command that makes the same samples.

    Args:
        order: What they were made by.
        out: The folder that it writes them to.
        device: Where, if it was said.
        scales: The scales of a sweep.
        every: Every so many steps were kept as a trajectory.
    """
    words = [f'mmagic-adm sample {shlex.quote(order.model)}', *_options(order)]
    if device is not None:
        words.append(f'--device {shlex.quote(device)}')
    if every is not None:
        words.append(f'--trajectory {every}')
    out = shlex.quote(out)
    if scales is None:
        if order.scale_to_give is not None:
            words.append(f'--scale {order.scale_to_give}')
        return _wrapped([*words, f'--out {out}', *_config_options(order)]) + '\n'
    words += ['--scale $scale', f'--out {out}/scale-$scale', *_config_options(order)]
    command = _wrapped(words).replace('\n', '\n  ')
    return f'for scale in {" ".join(map(str, scales))}; do\n  {command}\ndone\n'


def hole_as_python(
    order: Order, hole: Hole, files: tuple[str, str], device: str | None = None
) -> str:
    """Python that fills a hole in the same ways.

    Args:
        order: What was asked for.
        hole: What was filled.
        files: Where its picture and mask are.
        device: Where, if it was said.
    """
    picture, mask = files
    model = _call('init_model', order.model, **_given(device=device), **order.changes)
    asked = _sample_arguments(order)
    asked |= _given(draws=asked.pop('num_samples'), guidance_scale=asked.pop('scale', None))
    places = _Name('model'), picture, _Name('operator'), hole.method
    lines = [
        'from mmagic_adm.apis import init_model, restore',
        'from mmagic_adm.measurements import Inpainting',
        '',
        f'model = {model}',
        f'operator = {_call("Inpainting", _Name("model.sample_shape"), mask)}',
        *_names_of_labels(order),
        f'samples = {_call("restore", *places, **hole.arguments, **asked)}',
    ]
    return '\n'.join([*lines, ''])


def hole_as_command(
    order: Order, hole: Hole, files: tuple[str, str], out: str, device: str | None = None
) -> str:
    """A shell command that fills a hole in the same ways; ``out`` is the folder it writes to."""
    picture, mask = map(shlex.quote, files)
    words = [f'mmagic-adm restore {picture}', f'--mask {mask}']
    words += [f'--model {shlex.quote(order.model)}', f'--method {hole.method}']
    if hole.arguments:
        pairs = ' '.join(f'{name}={value}' for name, value in hole.arguments.items())
        words.append(f'--method-arguments {pairs}')
    words += _options(order, '--draws')
    if device is not None:
        words.append(f'--device {shlex.quote(device)}')
    if order.scale_to_give is not None:
        words.append(f'--guidance-scale {order.scale_to_give}')
    return _wrapped([*words, f'--out {shlex.quote(out)}', *_config_options(order)]) + '\n'


class _Name(str):
    """A name in Python, which stands without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _sample_arguments(order: Order) -> dict[str, Any]:
    return _given(
        labels=list(order.labels) or None,
        num_samples=order.count,
        seed=order.seed,
        steps=order.steps,
        scheduler=order.scheduler_to_give,
        scale=order.scale_to_give,
    )


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _names_of_labels(order: Order) -> list[str]:
    """A comment that says what the classes are called, where that is not just their numbers."""
    names = [order.facts.class_names[label] for label in order.labels]
    if all(name.isdecimal() for name in names):
        return []
    return [textwrap.shorten(f'# {", ".join(names)}', PYTHON_WIDTH, placeholder=' ...')]


def _call(function: str, *positional: Any, **named: Any) -> str:
    """A call in Python, with an argument a line where one line does not hold them."""
    arguments = [_literal(value) for value in positional]
    arguments += [f'{name}={_literal(value)}' for name, value in named.items()]
    line = f'{function}({", ".join(arguments)})'
    if len(line) <= PYTHON_WIDTH:
        return line
    lines = ',\n'.join(arguments).replace('\n', '\n    ')
    return f'{function}(\n    {lines},\n)'


def _literal(value: Any) -> str:
    """A value in Python, with dicts as the configs have them."""
    return _call('dict', **value) if isinstance(value, Mapping) else repr(value)


def _options(order: Order, count: str = '--num-samples') -> Iterator[str]:
    if order.labels:
        yield f'--labels {",".join(map(str, order.labels))}'
    yield f'{count} {order.count}'
    yield f'--seed {order.seed}'
    if order.steps is not None:
        yield f'--steps {order.steps}'
    if order.scheduler_to_give is not None:
        yield f'--scheduler {shlex.quote(order.scheduler_to_give)}'


def _config_options(order: Order) -> list[str]:
    """The model's arguments that differ, as the tools take changes to a config."""
    own = dict(guidance=order.facts.guidance, diffusion_scheduler=order.facts.scheduler)
    options: list[str] = []
    for name, value in order.changes.items():
        place = f'model.{name}'
        if value is not None and own[name] is not None:
            options.append(f'{place}._delete_=True')
        leaves = _leaves(place, value)
        options += [f'{each}={_option(leaf)}' for each, leaf in leaves]
    quoted = [shlex.quote(option) for option in options]
    return [f'--cfg-options {quoted[0]}', *quoted[1:]] if quoted else []


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What is no mapping, and at which place."""
    if not isinstance(value, Mapping):
        yield place, value
        return
    for name, part in value.items():
        yield from _leaves(f'{place}.{name}', part)


def _option(value: Any) -> str:
    if isinstance(value, tuple):
        return f'({",".join(map(_option, value))})'
    if isinstance(value, list):
        return f'[{",".join(map(_option, value))}]'
    return str(value)


def _wrapped(words: Sequence[str]) -> str:
    """A command over as many lines as it needs."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) < SHELL_WIDTH:
            lines[-1] += f' {word}'
        else:
            lines.append(f'    {word}')
    return ' \\\n'.join(lines)
