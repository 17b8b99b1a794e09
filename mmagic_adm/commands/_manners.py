"""The manners that the commands share.

- Results go to stdout, one a line, and nothing else does: they are what the command gives. What it
  or a library prints meanwhile goes to stderr, beside progress bars and logs.
- An error is one line that says what to do; ``--debug`` shows where it comes from.
- :data:`EXIT_CODES` are the same everywhere.
- Colours are for terminals, and for those who have not set ``NO_COLOR``.
- A file that is there stays as it is, unless ``--overwrite`` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

from mmagic_adm.version import __version__

EXIT_CODES = {0: 'done', 1: 'an error', 2: 'wrong usage', 130: 'stopped by ctrl-C'}

# What the package raises; its messages say what to do. Anything else was not foreseen.
_FORESEEN = (ValueError, RuntimeError, ArithmeticError, ImportError, OSError)


def command_parser(program: str, description: str | None, examples: str) -> argparse.ArgumentParser:
    """A parser whose help begins with what a command does, and ends in examples."""
    codes = ', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        program,
        description=description,
        epilog=f'examples:\n{examples}\nexit codes: {codes}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    return parser


def run_command(
    parser: argparse.ArgumentParser,
    main: Callable[[argparse.Namespace], Iterable[object] | None],
    argv: Sequence[str],
) -> int:
    """Parses the arguments and runs a command.

    Args:
        parser: The command's arguments.
        main: The command; gives the lines of its results, all at once or as they come. It raises
            ``argparse.ArgumentError(None, ...)`` for arguments that do not go together, and
            ``KeyboardInterrupt('...')`` to say how to go on after ctrl-C.
        argv: The arguments, as they were typed.

    Returns:
        The exit code; see :data:`EXIT_CODES`.

    Raises:
        SystemExit: The arguments cannot be read, or ask for the help.
    """
    parser.add_argument('--debug', action='store_true', help='show where an error comes from')
    arguments = parser.parse_args(argv)
    for name, value in vars(arguments).items():
        if value == '':
            parser.error(f'{name.replace("_", "-")} is empty: say which, or leave it out')
    try:
        with _only_results_on_stdout() as stdout:
            for line in main(arguments) or ():
                write_out(stdout, f'{line}\n')
    except KeyboardInterrupt as stopped:
        said = str(stopped) or 'stopped before it was done; the same command starts over'
        sys.stderr.write(f'{parser.prog}: {said}\n')
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
    if isinstance(error, RuntimeError) and _is_out_of_memory(error):
        return (
            f"{said} Take fewer images at a time: --batch-size, or batch_size of the config's "
            'data loader'
        )
    if said and isinstance(error, _FORESEEN):
        return said
    what = f'{type(error).__name__}: {said}' if said else type(error).__name__
    return f'{what} (--debug shows where it comes from)'


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Imported late, as PyTorch is with it.
    from mmagic_adm.apis.sampling import is_out_of_memory

    return is_out_of_memory(error)


@contextlib.contextmanager
def _only_results_on_stdout() -> Iterator[TextIO]:
    """Gives stdout, while all that is printed and logged goes to stderr."""
    # A shell's `>&-` leaves none.
    results = sys.stdout or open(os.devnull, 'w')  # noqa: SIM115
    with contextlib.redirect_stdout(sys.stderr):
        # Loggers that are made from here on find stderr by themselves; MMEngine's may be older,
        # where MMEngine has been imported.
        if mmengine := sys.modules.get('mmengine.logging'):
            for handler in mmengine.MMLogger.get_current_instance().handlers:
                if type(handler) is logging.StreamHandler:
                    handler.stream = sys.stderr
        yield results


def write_out(stdout: TextIO, text: str = '') -> None:
    """Writes text, and what is still to be written, to whoever reads it."""
    try:
        stdout.write(text)
        stdout.flush()
    except BrokenPipeError:
        # Who read the results has seen enough; the work goes on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
