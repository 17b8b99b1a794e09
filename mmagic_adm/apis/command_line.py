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
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.runner import FlexibleRunner, Runner

from mmagic_adm.apis.models import changed_config
from mmagic_adm.apis.sampling import is_out_of_memory, scheduler_config
from mmagic_adm.registry import SCOPE
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


def tool_parser(description: str | None, examples: str) -> argparse.ArgumentParser:
    """A parser whose help begins with what the tool does, and ends in examples."""
    return argparse.ArgumentParser(
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


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


def add_sampling_arguments(parser: argparse.ArgumentParser, batch_size: int, out: str) -> None:
    """The arguments of a tool that samples into a folder."""
    parser.add_argument('model', help='name of a config, or path of a config file')
    parser.add_argument('--checkpoint', help='weights of the model, path or URL')
    parser.add_argument('--classifier-checkpoint', help='weights of its classifier, path or URL')
    parser.add_argument('--labels', help='classes by number or name, with commas between')
    parser.add_argument('--seed', type=int, default=0, help='seed of the first image (default: 0)')
    add_sampler_arguments(parser)
    parser.add_argument(
        '--batch-size',
        type=int,
        default=batch_size,
        help='images at a time (default: %(default)s)',
    )
    parser.add_argument('--device', help='default: a GPU if there is one')
    add_config_options(parser, 'model.guidance.every=2')
    parser.add_argument('--out', help=f'folder (default: {out})')
    parser.add_argument('--overwrite', action='store_true', help='replace what --out holds')


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
    unet, classifier = arguments.checkpoint, arguments.classifier_checkpoint
    if classifier and not unet:
        raise argparse.ArgumentError(None, '--classifier-checkpoint goes with --checkpoint')
    return dict(unet=unet, classifier=classifier) if classifier else unet or True


def sample_settings(arguments: argparse.Namespace, *ignored: str) -> dict[str, Any]:
    """What samples follow from, of the arguments that :func:`add_sampling_arguments` begins."""
    ignored += ('out', 'overwrite', 'debug', 'device', 'batch_size')
    return {name: value for name, value in vars(arguments).items() if name not in ignored}


def add_sampler_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that :func:`chosen_sampler` reads."""
    parser.add_argument('--scheduler', help='ddpm, ddim, dpmsolver++, unipc, heun, euler, ...')
    parser.add_argument('--steps', help="how many steps, or a spec such as 'ddim25'")


def chosen_sampler(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``infer`` that name another sampler or number of steps than the config."""
    chosen: dict[str, Any] = {}
    if steps := arguments.steps:
        chosen['num_inference_steps'] = int(steps) if steps.isdecimal() else steps
    if arguments.scheduler:
        chosen['scheduler_kwargs'] = scheduler_config(arguments.scheduler)
    return chosen


def add_run_arguments(parser: argparse.ArgumentParser, results: str, example: str) -> None:
    """The arguments that :func:`run_config` reads, for results in the work directory."""
    parser.add_argument('config', help='path of a config file, or name of one of the package')
    parser.add_argument('--work-dir', help=f'where {results} go (work_dirs/CONFIG)')
    add_config_options(parser, example)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes, where there are several (default: none)',
    )


def run_config(arguments: argparse.Namespace, own_part: str) -> Config:
    """The config of a run of MMEngine's runner, with the command line's changes.

    Args:
        arguments: Those of :func:`add_run_arguments`.
        own_part: What the tool reads of a config besides the runner.
    """
    config = changed_config(arguments.config, arguments.cfg_options, RUN_PARTS | {own_part})
    config.setdefault('default_scope', SCOPE)
    config.work_dir = (
        arguments.work_dir or config.get('work_dir') or f'work_dirs/{short_name(arguments.config)}'
    )
    config.launcher = arguments.launcher
    return config


def short_name(config: str) -> str:
    """A config's name, given that or its path."""
    return Path(config).name.removesuffix('.py')


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """The argument whose value :func:`changed_config` takes."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_ConfigOptions,
        metavar='KEY=VALUE',
        help=f'changes to the config, such as {example}',
    )


def claim_file(path: Path | None, overwrite: bool) -> None:
    """Refuses an output file that is there, before the work that it is for; makes its folder."""
    if path is None:
        return
    if path.exists() and not overwrite:
        raise ValueError(f'{path} exists; choose another --out, or --overwrite')
    path.parent.mkdir(parents=True, exist_ok=True)


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
