"""Prints the figures of samples that lie on disk, compared with a reference batch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmagic_adm.commands._arguments import claim_file, features_config
from mmagic_adm.evaluation import evaluate
from mmagic_adm.files.whole import write_json

EXAMPLES = """\
  mmagic-adm evaluate VIRTUAL_imagenet64_labeled.npz samples.npz --out figures.json

prints Inception Score, FID, sFID, Precision and Recall, one a line.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument('reference', help='reference batch (.npz or URL), or a folder of images')
    parser.add_argument('samples', help='sample batch (.npz), or a folder of images')
    network = parser.add_mutually_exclusive_group()
    network.add_argument('--inception', metavar='WEIGHTS', help='of the Inception, path or URL')
    network.add_argument(
        '--features', metavar='CONFIG', help='file whose `features` configures another network'
    )
    parser.add_argument('--batch-size', type=int, default=64, help='images at a time (default: 64)')
    parser.add_argument('--out', metavar='FILE', type=Path, help='also write the figures, as JSON')
    parser.add_argument('--overwrite', action='store_true', help='replace --out if it exists')


def main(arguments: argparse.Namespace) -> Iterator[str]:
    """Evaluates, and gives one figure a line."""
    claim_file(arguments.out, arguments.overwrite)
    figures = evaluate(
        arguments.reference,
        arguments.samples,
        chosen_features(arguments),
        batch_size=arguments.batch_size,
    )
    if arguments.out:
        write_json(arguments.out, figures, arguments.overwrite)
    for name, value in figures.items():
        yield f'{name}: {value}'


def chosen_features(arguments: argparse.Namespace) -> dict | None:
    """Config of the feature extractor that the arguments ask for."""
    if arguments.features:
        return features_config(arguments.features)
    if arguments.inception:
        return dict(type='InceptionFeatures', weights=arguments.inception)
    return None
