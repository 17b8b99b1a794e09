"""Lists the names of the models, which every command and init_model take."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from mmagic_adm.configs import model_names, nearest

EXAMPLES = """\
  mmagic-adm list 'adm-g*'
  mmagic-adm list

The first prints the names that begin so, one a line; the second prints all.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        'pattern', nargs='?', default='*', help="what the names are like, such as '*-256x256'"
    )


def main(arguments: argparse.Namespace) -> Iterator[str]:
    """Gives the names."""
    names = model_names(arguments.pattern)
    if not names:
        hint = nearest(arguments.pattern, model_names(), 'without a pattern, all are listed')
        raise ValueError(f"no model is called '{arguments.pattern}'; {hint}")
    yield from names
