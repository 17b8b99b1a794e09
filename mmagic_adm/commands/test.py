"""Samples from a model and evaluates the samples, on MMEngine's runner."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmagic_adm.apis.models import model_config
from mmagic_adm.apis.sampling import scheduler_config
from mmagic_adm.apis.training import run_config
from mmagic_adm.commands._arguments import (
    add_profile_argument,
    add_run_arguments,
    add_sampler_arguments,
    claim_file,
)
from mmagic_adm.engine import EvaluationRunner
from mmagic_adm.files.whole import write_json, writing_into

EXAMPLES = """\
  mmagic-adm test adm_ddim250_8xb32_imagenet-64x64
  mmagic-adm test adm_ddim250_8xb32_imagenet-64x64 64x64_diffusion \\
      --cfg-options test_dataloader.dataset.num_samples=1000
  mmagic-adm test adm-g_ddim25_8xb32_imagenet-64x64 --scheduler dpmsolver++ --steps 20

The first makes the config's 50,000 samples with the released weights, compares them with its
reference batch, and prints one figure a line. Samples are kept in the work directory as they come;
stopped at any time, the same command with --resume makes the rest. On several GPUs it is
`torchrun --nproc-per-node 8 -m mmagic_adm test ...`. The third takes 20 steps of another sampler.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_run_arguments(parser, 'samples and figures', 'test_dataloader.dataset.num_samples=1000')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help="the model's weights: name, path or URL (default: those that the config names)",
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write the figures, as JSON')
    parser.add_argument('--overwrite', action='store_true', help='replace --out if it exists')
    parser.add_argument(
        '--resume', action='store_true', help='go on with the samples that the work dir has'
    )
    add_sampler_arguments(parser)
    add_profile_argument(parser, 'the networks as they are')


def main(arguments: argparse.Namespace) -> Iterator[str]:
    """Runs the test loop; gives one figure a line."""
    claim_file(arguments.out, arguments.overwrite)
    config = evaluation_config(arguments)
    with writing_into(Path(config.work_dir)):
        figures = EvaluationRunner.from_cfg(config).test()
    if not is_main_process():
        return
    if arguments.out:
        write_json(arguments.out, figures, arguments.overwrite)
    for name, value in figures.items():
        yield f'{name}: {value}'


def evaluation_config(arguments: argparse.Namespace) -> Config:
    """The config with what the command line changes."""
    config = run_config(
        arguments.config,
        arguments.work_dir,
        arguments.cfg_options,
        arguments.launcher,
        arguments.verbose,
        'weights',
    )
    if 'test_cfg' not in config:
        raise ValueError(f'{arguments.config} has no evaluation: test_dataloader, test_evaluator')
    if arguments.checkpoint:
        config.load_from = arguments.checkpoint
    else:
        config.model = model_config(config)
    if arguments.profile:
        config.model.profile = arguments.profile
    sampler: dict[str, Any] = {}
    if arguments.steps is not None:
        sampler['num_inference_steps'] = arguments.steps
    if arguments.scheduler:
        sampler['scheduler_kwargs'] = scheduler_config(arguments.scheduler)
    if (sampler or arguments.resume) and config.test_cfg.type != 'SamplingLoop':
        raise ValueError(
            '--scheduler, --steps and --resume are for the samples that a SamplingLoop makes and '
            f'keeps, but test_cfg of {arguments.config} is a {config.test_cfg.type}'
        )
    if sampler:
        config.test_cfg.sample_kwargs = {**config.test_cfg.get('sample_kwargs', {}), **sampler}
    if arguments.resume:
        config.test_cfg.resume = True
    return config
