"""Trains a model on MMEngine's runner."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmagic_adm.commands._arguments import add_run_arguments, run_config
from mmagic_adm.engine import checkpoint_to_resume, last_checkpoint
from mmagic_adm.files.whole import writing_into
from mmagic_adm.registry import RUNNERS

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
    config = training_config(arguments)
    take_up_training(config, arguments.resume)
    # By its class: the registry would look where the scope of this process points, not the config.
    runner = RUNNERS.get(config.runner_type)
    with writing_into(Path(config.work_dir)):
        runner.from_cfg(config).train()
    last = last_checkpoint(config.work_dir)
    if last and is_main_process():
        yield last


def training_config(arguments: argparse.Namespace) -> Config:
    """The config with what the command line changes."""
    config = run_config(arguments, 'runner_type')
    if 'train_cfg' not in config:
        raise ValueError(f'{arguments.config} has no training: train_dataloader, train_cfg')
    config.setdefault('runner_type', 'TrainingRunner')
    if arguments.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.dtype = arguments.amp
    if arguments.allow_reorder:
        config.train_cfg.allow_reorder = True
    return config


def take_up_training(config: Config, resume: bool) -> None:
    """Takes up the training that the work directory has; leaves it alone if not asked to."""
    found = (checkpoint_to_resume if resume else last_checkpoint)(config.work_dir)
    if found and not resume:
        raise ValueError(
            f'{config.work_dir} has a training that got to {found.name}: --resume goes on with '
            'it, --work-dir starts another elsewhere'
        )
    if resume and not found:
        raise ValueError(f'there is nothing to resume in {config.work_dir}: no checkpoint yet')
    if resume:
        config.resume, config.load_from = True, str(found)
