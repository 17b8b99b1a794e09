"""The command ``mmagic-adm``, also ``python -m mmagic_adm``: each file here is one of its own.

A file has a docstring, whose first line stands in the help of ``mmagic-adm``; ``EXAMPLES`` for its
own help; ``add_arguments``; and ``main``, which gives the lines of its results. What begins with an
underscore is what they share. Help reads the docstrings without running the files: it does not wait
for PyTorch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mmagic_adm.commands._manners import command_parser, in_one_line, run_command, write_out

PROGRAM = 'mmagic-adm'
EXAMPLES = """\
  mmagic-adm list 'adm-g*'
  mmagic-adm sample adm-g_ddim25_digits-16x16 --labels 3,5,8 --num-samples 30
  mmagic-adm sample --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names, with the others; gives the exit code."""
    try:
        named = all_parser().parse_args(argv)
        try:
            command = importlib.import_module(f'{__name__}.{named.command}')
        except ImportError as error:
            if '--debug' in named.arguments:
                raise
            sys.stderr.write(f'{PROGRAM} {named.command}: {in_one_line(error)}\n')
            return 1
        return run_command(parser_of(named.command), command.main, named.arguments)
    finally:
        if sys.stdout is not None:
            write_out(sys.stdout)  # the help, which nobody may want to the end


def all_parser() -> argparse.ArgumentParser:
    """The parser of ``mmagic-adm`` itself, whose help has a line for each command."""
    about = command_summaries()
    lines = '\n'.join(f'  {name:10}{about[name]}' for name in about)
    description = f'Samples from, steers, trains and judges diffusion models.\n\ncommands:\n{lines}'
    parser = command_parser(PROGRAM, description, EXAMPLES)
    parser.add_argument('command', metavar='COMMAND', choices=about, help='one of these')
    parser.add_argument(
        'arguments',
        metavar='...',
        nargs=argparse.REMAINDER,
        help='its own: see COMMAND --help',
    )
    return parser


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    module = importlib.import_module(f'{__name__}.{command}')
    parser = command_parser(f'{PROGRAM} {command}', module.__doc__, module.EXAMPLES)
    module.add_arguments(parser)
    return parser


def command_summaries() -> dict[str, str]:
    """What each command does, in a line."""
    files = sorted(Path(__file__).parent.glob('[!_]*.py'))
    return {file.stem: _first_line(file) for file in files}


def _first_line(file: Path) -> str:
    with open(file, encoding='utf-8') as code:
        return code.readline().strip().strip('"')
