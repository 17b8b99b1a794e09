"""Trains a model on MMEngine's runner."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmengine.dist import is_main_process

from mmagic_adm.apis.training import train
from mmagic_adm.commands._arguments import add_run_arguments

EXAMPLES = """\
  mmagic-adm train adm_1xb32_digits-16x16

trains on scikit-learn's handwritten digits, with checkpoints in work_dirs/adm_1xb32_digits-16x16,
and prints the path of the last of them. Stopped at any time, the same command with --resume goes
on, to the same weights in the end. On several GPUs it is
`torchrun --nproc-per-node 8 -m mmagic_adm train ...`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_run_arguments(parser, 'checkpoints and logs', 'train_dataloader.batch_size=8')
    parser.add_argument(
        '--resume', action='store_true', help='go on with the training that the work dir has'
    )
    parser.add_argument(
        '--allow-reorder',
        action='store_true',
        help='resume although iterations are given other images than before (seed, data, or batch)',
    )
    parser.add_argument(
        '--amp',
        choices=['float16', 'bfloat16'],
        help='train in mixed precision (GPUs since 2020 have bfloat16)',
    )


def main(arguments: argparse.Namespace) -> Iterator[Path]:
    """Runs the training loop; gives the last checkpoint."""
    if arguments.allow_reorder and not arguments.resume:
        raise argparse.ArgumentError(None, '--allow-reorder goes with --resume')
    last = train(
        arguments.config,
        arguments.work_dir,
        resume=arguments.resume,
        changes=arguments.cfg_options,
        amp=arguments.amp,
        allow_reorder=arguments.allow_reorder,
        launcher=arguments.launcher,
        verbose=arguments.verbose,
    )
    if last and is_main_process():
        yield last
