"""What is on the page, as Python and as a command."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmagic_adm.demo.order import Order

PYTHON_WIDTH = 64
SHELL_WIDTH = 84

# Where a hole's picture and mask are.
HoleFiles = tuple[str, str] | None


def as_python(order: Order, device: str | None = None, files: HoleFiles = None) -> str:
    """Python that makes the same samples.

    Args:
        order: What they were made by.
        device: Where, if it was said.
        files: Of the hole that they fill.

    Returns:
        A script that leaves them in ``samples``, and those of a sweep in ``sweep``, by scale.
    """
    given = _given(device=device, weights=order.weights or None)
    lines = [f'model = {_call("init_model", order.model, **given, **order.changes)}']
    labels = [order.facts.class_names[label] for label in order.labels]
    if not all(name.isdecimal() for name in labels):
        lines.append(textwrap.shorten(f'# {", ".join(labels)}', PYTHON_WIDTH, placeholder=' ...'))
    arguments = _arguments(order)
    if order.hole is not None and files is not None:
        operator = _call('Inpainting', _Name('model.sample_shape'), files[1])
        lines.append(f'operator = {operator}')
        places = _Name('model'), files[0], _Name('operator'), order.hole.method
        call = _call('restore', *places, **order.hole.arguments, **arguments)
        imports = 'restore\nfrom mmagic_adm.measurements import Inpainting'
    else:
        imports = 'sample'
        scale = dict(scale=_Name('scale')) if order.scales else {}
        call = _call('sample', _Name('model'), **{**arguments, **scale})
    if order.scales:
        call = call.replace('\n', '\n    ')
        scales = ', '.join(map(str, order.scales))
        lines += ['sweep = {}', f'for scale in [{scales}]:', f'    sweep[scale] = {call}']
    else:
        lines.append(f'samples = {call}')
    return '\n'.join([f'from mmagic_adm.apis import init_model, {imports}', '', *lines, ''])


def as_command(order: Order, out: str, device: str | None = None, files: HoleFiles = None) -> str:
    """A shell command that makes the same samples; ``out`` is the folder that it writes them to."""
    model, out, options = shlex.quote(order.model), shlex.quote(out), _arguments(order)
    if order.hole is not None and files is not None:
        picture, mask = map(shlex.quote, files)
        words = [f'mmagic-adm restore {picture}', f'--mask {mask}', f'--model {model}']
        words.append(f'--method {order.hole.method}')
        pairs = [f'{name}={value}' for name, value in order.hole.arguments.items()]
        words += [f'--method-arguments {" ".join(pairs)}'] if pairs else []
    else:
        words = [f'mmagic-adm sample {model}']
    options |= _given(device=device, checkpoint=order.weights or None)
    if order.scales:
        options['scale'], out = _Name('$scale'), f'{out}/scale-$scale'
    for name, value in options.items():
        text = ','.join(map(str, value)) if isinstance(value, list) else str(value)
        quoted = text if isinstance(value, _Name) else shlex.quote(text)
        words.append(f'--{name.replace("_", "-")} {quoted}')
    command = _wrapped([*words, f'--out {out}', *_config_options(order)])
    if not order.scales:
        return f'{command}\n'
    command = command.replace('\n', '\n  ')
    return f'for scale in {" ".join(map(str, order.scales))}; do\n  {command}\ndone\n'


class _Name(str):
    """A name in Python, which stands without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _arguments(order: Order) -> dict[str, Any]:
    """The arguments of ``sample`` or ``restore``, by which the options are called, too."""
    is_hole = order.hole is not None
    return _given(
        labels=list(order.labels) or None,
        **{'draws' if is_hole else 'num_samples': order.count},
        seed=order.seed,
        steps=order.steps,
        scheduler=order.scheduler_to_give,
        **{'guidance_scale' if is_hole else 'scale': order.scale_to_give},
        trajectory=order.every,
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


def _wrapped(words: Sequence[str]) -> str:
    """A command over as many lines as it needs."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) < SHELL_WIDTH:
            lines[-1] += f' {word}'
        else:
            lines.append(f'    {word}')
    return ' \\\n'.join(lines)
