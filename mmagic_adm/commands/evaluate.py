"""Prints the figures of samples that lie on disk, compared with a reference."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmagic_adm.commands._arguments import claim_file, config_part
from mmagic_adm.evaluation import Resize, report_on
from mmagic_adm.evaluation.figures import metrics_by_name
from mmagic_adm.evaluation.image_sets import FILTERS
from mmagic_adm.evaluation.metrics.base import NETWORKS
from mmagic_adm.evaluation.report import report_files

EXAMPLES = """\
  mmagic-adm evaluate VIRTUAL_imagenet64_labeled.npz samples.npz --out figures.json
  mmagic-adm evaluate img64.pkl samples.npz --metrics fid,fd_dinov2
  mmagic-adm evaluate training_images/ a.npz b.npz --metrics fid,kid,prdc,prdc:dinov2,cmmd \\
      --resize 256 --repeats 20 --out report.json

The first prints Inception Score, FID, sFID, Precision and Recall, one a line. The last compares two
sets by Inception, DINOv2 and CLIP in one pass over each, and prints a table; beside report.json it
writes the table as Markdown and a plot of fidelity against diversity.
"""

DATA = ('.py', '.yml', '.yaml')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        'reference',
        help="reference batch (.npz, EDM2's .pkl, or a URL), a folder of images, a database of "
        "LSUN's, or a config file whose `dataset` is one",
    )
    parser.add_argument(
        'samples', nargs='+', help='sample batch (.npz), or a folder of images; or several'
    )
    parser.add_argument(
        '--metrics',
        help='names with commas between, each with :NETWORK to take that one instead of its own '
        f'({", ".join(NETWORKS)}); of {", ".join(metrics_by_name())} (default: is,fid,sfid,pr)',
    )
    parser.add_argument(
        '--features',
        metavar='CONFIG',
        help='file whose `features` configures a network to take the place of the Inception',
    )
    for network in NETWORKS:
        parser.add_argument(f'--{network}', metavar='WEIGHTS', help='its weights, path or URL')
    parser.add_argument(
        '--resize', type=int, metavar='PIXELS', help='bring images of other sizes to this one'
    )
    parser.add_argument(
        '--filter', choices=FILTERS, default='bicubic', help='for that (default: %(default)s)'
    )
    parser.add_argument(
        '--repeats',
        type=int,
        default=0,
        help='compute each figure again on so many random halves, for its 95%% interval',
    )
    parser.add_argument(
        '--nearest',
        type=int,
        default=0,
        metavar='NUMBER',
        help='show so many samples beside the images of the reference that they are nearest to',
    )
    parser.add_argument('--batch-size', type=int, default=64, help='images at a time (default: 64)')
    parser.add_argument(
        '--out',
        metavar='FILE',
        type=Path,
        help='also write a report: FILE.json, and more beside it',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace --out if it exists')


def main(arguments: argparse.Namespace) -> Iterator[str]:
    """Evaluates, and gives one figure a line, or a table of several sets."""
    if arguments.features and arguments.inception:
        raise argparse.ArgumentError(None, '--features takes the place of --inception')
    if arguments.nearest and not arguments.out:
        raise argparse.ArgumentError(None, '--nearest goes with --out, beside which its sheet goes')
    if arguments.out:
        for file in report_files(arguments.out, len(arguments.samples), arguments.nearest > 0):
            claim_file(file, arguments.overwrite)
    weights = {name: getattr(arguments, name) for name in NETWORKS if getattr(arguments, name)}
    report = report_on(
        chosen_reference(arguments.reference),
        arguments.samples,
        arguments.metrics.split(',') if arguments.metrics else None,
        config_part(arguments.features, 'features') if arguments.features else None,
        batch_size=arguments.batch_size,
        networks={name: dict(NETWORKS[name], weights=weights[name]) for name in weights},
        repeats=arguments.repeats,
        resize=Resize(arguments.resize, arguments.filter) if arguments.resize else None,
        shown=arguments.nearest,
    )
    if arguments.out:
        report.save(arguments.out, arguments.overwrite)
    if len(report.sets) > 1:
        yield report.table()
    else:
        for name, value in report.sets[0].figures.items():
            yield f'{name}: {value}'


def chosen_reference(text: str) -> str | dict:
    """A path or URL, or what a config file has for `dataset`."""
    return config_part(text, 'dataset') if Path(text).suffix in DATA else text
