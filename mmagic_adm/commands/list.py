"""Lists the models, whose names every command and init_model take."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from mmagic_adm.configs import list_models, nearest
from mmagic_adm.model_index import ModelSummary, model_summary, released_models

EXAMPLES = """\
  mmagic-adm list 'adm-g*'
  mmagic-adm list

The first prints the models whose names begin so, one a line; the second prints all. After the name
come the size of the images, the number of classes, how much there is to download the first time,
the FID that was published, and the licence of the weights.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        'pattern', nargs='?', default='*', help="what the names are like, such as '*-256x256'"
    )


def main(arguments: argparse.Namespace) -> Iterator[str]:
    """Gives a line for each model."""
    names = list_models(arguments.pattern) + released_models(arguments.pattern)
    if not names:
        hint = nearest(
            arguments.pattern,
            [*list_models(), *released_models()],
            'without a pattern, all are listed',
        )
        raise ValueError(f"no model is called '{arguments.pattern}'; {hint}")
    width = max(map(len, names))
    print(_line('name'.ljust(width), 'size', 'classes', 'download', 'FID', 'licence'))
    for name in names:
        yield _line(name.ljust(width), *_cells(model_summary(name)))


def _line(name: str, size: str, classes: str, download: str, fid: str, licence: str) -> str:
    return f'{name}  {size:>4}  {classes:>7}  {download:>8}  {fid:>6}  {licence:>15}'


def _cells(summary: ModelSummary) -> tuple[str, str, str, str, str]:
    size, classes, download, fid, licence, _ = vars(summary).values()
    return (
        str(size),
        str(classes or '-'),
        'unreleased' if download is None else f'{download / 1e9:.1f} GB' if download else 'none',
        '-' if fid is None else f'{fid:.2f}',
        licence or '-',
    )
