#!/usr/bin/env python
"""Samples from a model and evaluates the samples, on MMEngine's runner."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmagic_adm.apis.command_line import (
    RUN_PARTS,
    add_config_options,
    add_profile_argument,
    changed_config,
    claim_file,
    run_tool,
)
from mmagic_adm.apis.models import model_config
from mmagic_adm.engine import EvaluationRunner
from mmagic_adm.files.whole import write_json

EXAMPLE = """examples:
  python tools/test.py adm_ddim250_8xb32_imagenet-64x64
  python tools/test.py configs/guided_diffusion/adm_ddim250_8xb32_imagenet-64x64.py \\
      64x64_diffusion.pt --cfg-options test_dataloader.dataset.num_samples=1000

The first makes the config's 50,000 samples with the released weights, compares them with its
reference batch, and prints one figure a line. Samples are kept in the work directory as they come;
stopped at any time, the same command with --resume makes the rest. tools/dist_test.sh does the same
on several GPUs.
"""


def parse() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='path of a config file, or name of one of the package')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help="the model's weights, path or URL (default: the released ones that the config names)",
    )
    parser.add_argument('--work-dir', help='where samples and figures go (work_dirs/CONFIG)')
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write the figures, as JSON')
    parser.add_argument('--overwrite', action='store_true', help='replace --out if it exists')
    parser.add_argument(
        '--resume', action='store_true', help='go on with the samples that the work dir has'
    )
    add_profile_argument(parser, 'the networks as they are')
    add_config_options(parser, 'test_dataloader.dataset.num_samples=1000')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes, where there are several (default: none)',
    )
    return parser


def main(arguments: argparse.Namespace) -> Iterator[str]:
    """Runs the test loop; gives one figure a line."""
    claim_file(arguments.out, arguments.overwrite)
    runner = EvaluationRunner.from_cfg(run_config(arguments))
    try:
        figures = runner.test()
    except KeyboardInterrupt:
        raise KeyboardInterrupt('stopped; the same command with --resume makes the rest') from None
    if not is_main_process():
        return
    if arguments.out:
        write_json(arguments.out, figures, arguments.overwrite)
    for name, value in figures.items():
        yield f'{name}: {value}'


def run_config(arguments: argparse.Namespace) -> Config:
    """The config with what the command line changes."""
    config = changed_config(arguments.config, arguments.cfg_options, RUN_PARTS | {'weights'})
    if 'test_cfg' not in config:
        raise ValueError(f'{arguments.config} has no evaluation: test_dataloader, test_evaluator')
    config.setdefault('default_scope', 'mmagic_adm')
    config.work_dir = (
        arguments.work_dir
        or config.get('work_dir')
        or str(Path('work_dirs') / Path(arguments.config).stem)
    )
    config.launcher = arguments.launcher
    if arguments.checkpoint:
        config.load_from = arguments.checkpoint
    else:
        config.model = model_config(config)
    if arguments.profile:
        config.model.profile = arguments.profile
    if arguments.resume:
        if config.test_cfg.type != 'SamplingLoop':
            raise ValueError(
                f'--resume takes the samples that a SamplingLoop keeps, but test_cfg of '
                f'{arguments.config} is a {config.test_cfg.type}'
            )
        config.test_cfg.resume = True
    return config


if __name__ == '__main__':
    sys.exit(run_tool(parse(), main))
