"""The manners that the command-line tools share.

A tool is a parser, with an example in its help, and a function; :func:`run_tool` does the rest.

- Results go to stdout, one a line, and nothing else does: they are what the function gives. What it
  or a library prints meanwhile goes to stderr, beside progress bars and logs.
- An error is one line that says what to do; ``--debug`` shows where it comes from.
- :data:`EXIT_CODES` are the same everywhere.
- Colours are for terminals, and for those who have not set ``NO_COLOR``.
- A file that is there stays as it is, unless ``--overwrite`` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.runner import FlexibleRunner, Runner

from mmagic_adm.apis.sampling import is_out_of_memory
from mmagic_adm.checkpoints.zoo import find_config
from mmagic_adm.registry import MODELS
from mmagic_adm.version import __version__

EXIT_CODES = {0: 'done', 1: 'an error', 2: 'wrong usage', 130: 'stopped by ctrl-C'}

RUN_PARTS = frozenset(
    name
    for runner in (Runner, FlexibleRunner)
    for name in inspect.signature(runner).parameters
    if name not in ('cfg', 'launcher')
)
"""What MMEngine's runners read of their config."""

# What the package raises; its messages say what to do. Anything else was not foreseen.
_FORESEEN = (ValueError, RuntimeError, ArithmeticError, ImportError, OSError)


def run_tool(
    parser: argparse.ArgumentParser,
    main: Callable[[argparse.Namespace], Iterable[object] | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parses the arguments and runs a tool.

    Args:
        parser: The tool's arguments.
        main: The tool; gives the lines of its results, all at once or as they come. It raises
            ``argparse.ArgumentError(None, ...)`` for arguments that do not go together, and
            ``KeyboardInterrupt('...')`` to say how to go on after ctrl-C.
        argv: Arguments in place of the command line's.

    Returns:
        The exit code; see :data:`EXIT_CODES`.

    Raises:
        SystemExit: The command line cannot be read, or asks for the help.
    """
    parser.add_argument('--debug', action='store_true', help='show where an error comes from')
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    codes = ', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())
    parser.epilog = f'{(parser.epilog or "").rstrip()}\n\nexit codes: {codes}'
    arguments = parser.parse_args(argv)
    try:
        with _only_results_on_stdout() as stdout:
            for line in main(arguments) or ():
                _write(stdout, line)
    except KeyboardInterrupt as stopped:
        sys.stderr.write(f'{parser.prog}: {str(stopped) or "interrupted"}\n')
        return 130
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except Exception as error:
        if arguments.debug:
            raise
        sys.stderr.write(f'{parser.prog}: {in_one_line(error)}\n')
        return 1
    return 0


def in_one_line(error: Exception) -> str:
    """What an error says, and what to do about it, in one line."""
    # A KeyError puts quotes around what it says.
    said = ' '.join(str(error.args[0] if isinstance(error, KeyError) else error).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f'{error.filename}: {error.strerror}'
    if isinstance(error, RuntimeError) and is_out_of_memory(error):
        return (
            f"{said} Take fewer images at a time: --batch-size, or batch_size of the config's "
            'data loader'
        )
    if said and isinstance(error, _FORESEEN):
        return said
    what = f'{type(error).__name__}: {said}' if said else type(error).__name__
    return f'{what} (--debug shows where it comes from)'


def add_weight_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that :func:`chosen_weights` reads."""
    parser.add_argument('--checkpoint', help='weights of the model, path or URL')
    parser.add_argument('--classifier-checkpoint', help='weights of its classifier, path or URL')


def add_profile_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """The argument for how networks compute."""
    parser.add_argument(
        '--profile',
        choices=['exact', 'fast', 'auto'],
        help=f'how the networks compute: in float32, as fast as the hardware allows, or as fast '
        f"and compiled where that pays (default: the config's, or {default})",
    )


def chosen_weights(arguments: argparse.Namespace) -> bool | str | dict[str, str]:
    """The files named on the command line, or else the weights that the config names."""
    if arguments.classifier_checkpoint:
        if not arguments.checkpoint:
            raise argparse.ArgumentError(
                None, '--classifier-checkpoint goes with --checkpoint: give both'
            )
        return dict(unet=arguments.checkpoint, classifier=arguments.classifier_checkpoint)
    return arguments.checkpoint or True


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """The argument whose value :func:`changed_config` takes."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_ConfigOptions,
        metavar='KEY=VALUE',
        help=f'changes to the config, such as {example}',
    )


def changed_config(name: str, options: Mapping[str, Any] | None, parts: Collection[str]) -> Config:
    """The config of a name or path, with the command line's changes.

    Args:
        name: As :func:`find_config` takes it.
        options: New values by their place in the config, such as ``model.guidance.scale``.
        parts: What the tool reads of a config.

    Raises:
        ValueError: An option would change nothing that is read, or something that has no parts.
    """
    config = find_config(name)
    for key in options or {}:
        _check_place(config, key, name, parts)
    config.merge_from_dict(dict(options or {}))
    guidance = config.get('model', {}).get('guidance')
    if isinstance(guidance, dict) and 'type' not in guidance:
        raise ValueError(
            f'{name} has no guidance of its own whose {" and ".join(guidance)} could be changed: '
            'choose one too, such as model.guidance.type=ClassifierGuidance'
        )
    return config


def claim_file(path: Path | None, overwrite: bool) -> None:
    """Refuses an output file that is there, before the work that it is for; makes its folder."""
    if path is None:
        return
    if path.exists() and not overwrite:
        raise ValueError(f'{path} exists; choose another --out, or --overwrite')
    path.parent.mkdir(parents=True, exist_ok=True)


def number_or_spec(steps: str | None) -> int | str | None:
    """A bare number of steps as a number."""
    return int(steps) if steps and steps.isdecimal() else steps


class _ConfigOptions(DictAction):
    """MMEngine's action, for which a slip of the pen is an error of usage."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError):
            raise argparse.ArgumentError(
                self, f'every change is KEY=VALUE, with its brackets closed: {" ".join(values)}'
            ) from None


def _check_place(config: Config, key: str, name: str, parts: Collection[str]) -> None:
    """Refuses an option that would be lost, or would break something else."""
    first, *others = key.split('.')
    if first not in parts:
        there = ', '.join(part for part in config if part in parts)
        raise ValueError(
            f'--cfg-options {key}: nothing would come of it, as {first!r} is no part of {name} '
            f'that is used here; those are {there}'
        )
    node, place = config.get(first, {}), first
    if first == 'model' and others:
        _check_argument(node, others[0], key)
    for part in others:
        if isinstance(node, list):
            if not (part.isdecimal() and int(part) < len(node)):
                raise ValueError(
                    f'--cfg-options {key}: {place} of {name} has {len(node)} entries, from 0 on'
                )
            node = node[int(part)]
        elif isinstance(node, dict):
            node = node.get(part, {})
        else:
            raise ValueError(f'--cfg-options {key}: {place} of {name} is {node!r}, without parts')
        place = f'{place}.{part}'


def _check_argument(model: Mapping[str, Any], argument: str, key: str) -> None:
    """Refuses an argument that the model does not take."""
    kind = model.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if kind is None:
        return
    taken = inspect.signature(kind).parameters
    takes_others = any(each.kind is each.VAR_KEYWORD for each in taken.values())
    if not takes_others and argument not in {*taken, *model}:
        raise ValueError(
            f'--cfg-options {key}: {kind.__name__} takes no {argument!r}; it takes '
            f'{", ".join(taken)}'
        )


@contextlib.contextmanager
def _only_results_on_stdout() -> Iterator[TextIO]:
    """Gives stdout, while all that is printed and logged goes to stderr."""
    results = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        # Loggers that are made from here on find stderr by themselves; this one may be older.
        for handler in MMLogger.get_current_instance().handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.stderr
        yield results


def _write(stdout: TextIO, line: object) -> None:
    try:
        stdout.write(f'{line}\n')
        stdout.flush()
    except BrokenPipeError:
        # Who read the results has seen enough; the work goes on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
