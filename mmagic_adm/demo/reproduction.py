"""What is on the page, as Python and as a command."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmagic_adm.demo.order import Order

PYTHON_WIDTH = 64


def as_python(order: Order, folder: Path, device: str | None = None) -> str:
    """Python that leaves the same samples in ``samples``.

    Args:
        order: What they were made by.
        folder: Where they were written, and the hole is that they fill.
        device: Where they were made, if it was said.
    """
    given = _given(device=device, weights=order.weights or None)
    lines = [f'model = {_call("init_model", order.model, **given, **order.changes)}']
    names = [order.facts.class_names[label] for label in order.labels]
    if not all(name.isdecimal() for name in names):
        lines.append(textwrap.shorten(f'# {", ".join(names)}', PYTHON_WIDTH, placeholder=' ...'))
    model, imports, arguments = _Name('model'), 'sample', _arguments(order)
    if order.scales:
        arguments |= _given(**order.each)
        del arguments['num_samples'], arguments['seed']
    if order.hole is None:
        lines.append(f'samples = {_call("sample", model, **arguments)}')
    else:
        imports = 'restore\nfrom mmagic_adm.measurements import Inpainting'
        mask = str(folder / 'mask.png')
        lines.append(f'operator = {_call("Inpainting", _Name("model.sample_shape"), mask)}')
        places = model, str(folder / 'picture.png'), _Name('operator'), order.hole.method
        lines.append(f'samples = {_call("restore", *places, **order.hole.arguments, **arguments)}')
    return '\n'.join([f'from mmagic_adm.apis import init_model, {imports}', '', *lines, ''])


def as_command(order: Order, folder: Path, device: str | None = None) -> str:
    """A shell command that makes the same samples, in a folder of its own; arguments likewise."""
    model, options, out = shlex.quote(order.model), _arguments(order), f'outputs/{folder.name}'
    if order.hole is None:
        words = [f'mmagic-adm sample {model}']
    else:
        picture, mask = (shlex.quote(str(folder / f'{name}.png')) for name in ('picture', 'mask'))
        words = [f'mmagic-adm restore {picture}', f'--mask {mask}', f'--model {model}']
        words.append(f'--method {order.hole.method}')
        pairs = [f'{name}={value}' for name, value in order.hole.arguments.items()]
        words += [f'--method-arguments {" ".join(pairs)}'] if pairs else []
    options |= _given(device=device, checkpoint=order.weights or None, out=out)
    if order.scales:
        options |= dict(scale=_Name('$scale'), out=_Name(f'{out}/scale-$scale'))
    for name, value in options.items():
        text = ','.join(map(str, value)) if isinstance(value, list) else str(value)
        quoted = text if isinstance(value, _Name) else shlex.quote(text)
        words.append(f'--{name.replace("_", "-")} {quoted}')
    command = ' '.join([*words, *_config_options(order)])
    if not order.scales:
        return f'{command}\n'
    return f'for scale in {" ".join(map(str, order.scales))}; do {command}; done\n'


class _Name(str):
    """What stands without quotes: a name in Python, a variable in a shell."""

    def __repr__(self) -> str:
        return str(self)


def _arguments(order: Order) -> dict[str, Any]:
    """The arguments of ``sample`` or ``restore``, by which the options are called, too."""
    count, scale = ('num_samples', 'scale') if order.hole is None else ('draws', 'guidance_scale')
    return _given(
        labels=list(order.labels) or None,
        **{count: order.count},
        seed=order.seed,
        steps=order.steps,
        scheduler=order.scheduler,
        **{scale: None if order.scales else order.scale},
        trajectory=order.trajectory,
    )


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


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


def _config_options(order: Order) -> list[str]:
    """The model's arguments that differ, as the commands take changes to a config."""
    own = dict(guidance=order.facts.guidance, diffusion_scheduler=order.facts.scheduler)
    options: list[str] = []
    for name, value in order.changes.items():
        place = f'model.{name}'
        if isinstance(value, Mapping) and own[name] is not None:
            options.append(f'{place}._delete_=True')
        options += [f'{each}={_option(leaf)}' for each, leaf in _leaves(place, value)]
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
    if isinstance(value, (tuple, list)):
        inner = ','.join(map(_option, value))
        return f'({inner})' if isinstance(value, tuple) else f'[{inner}]'
    return str(value)
