"""From a config to a trained network."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmagic_adm.apis.models import changed_config
from mmagic_adm.engine import checkpoint_to_resume, last_checkpoint
from mmagic_adm.files.whole import writing_into
from mmagic_adm.registry import RUNNERS, SCOPE

RUN_PARTS = frozenset(
    name
    for runner in (Runner, FlexibleRunner)
    for name in inspect.signature(runner).parameters
    if name not in ('cfg', 'launcher')
)
"""What MMEngine's runners read of their config."""


def train(
    config: str | Path | Config,
    work_dir: str | Path | None = None,
    *,
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    amp: str | None = None,
    allow_reorder: bool = False,
    launcher: str = 'none',
    verbose: bool = False,
) -> Path | None:
    """Trains a model by a config, on MMEngine's runner.

    Args:
        config: Name of one of the package's configs, path of a config file, or a config.
        work_dir: Folder for checkpoints and logs; None is the config's, or work_dirs/CONFIG.
        resume: Whether to go on with the training that the folder has, to the same weights in the
            end as if it had never been stopped.
        changes: New values by their place in the config, such as ``{'train_cfg.max_iters': 100}``.
        amp: Train in mixed precision: 'float16' or 'bfloat16'.
        allow_reorder: Resume although iterations are given other images than before.
        launcher: What started the processes, where there are several: 'pytorch', 'slurm', 'mpi'.
        verbose: Whether all that the log file has is also shown: environment, config, hooks.

    Returns:
        The last checkpoint.

    Raises:
        ValueError: The config trains nothing, or the folder has a training already, or none that
            could be resumed.
    """
    run = run_config(config, work_dir, changes, launcher, verbose, 'runner_type')
    if 'train_cfg' not in run:
        raise ValueError(f'{name_of(run)} has no training: train_dataloader, train_cfg')
    run.setdefault('runner_type', 'TrainingRunner')
    if amp:
        run.optim_wrapper.type = 'AmpOptimWrapper'
        run.optim_wrapper.dtype = amp
    if allow_reorder:
        run.train_cfg.allow_reorder = True
    take_up_training(run, resume)
    # By its class: the registry would look where the scope of this process points, not the config.
    runner = RUNNERS.get(run.runner_type)
    with writing_into(Path(run.work_dir)):
        runner.from_cfg(run).train()
    return last_checkpoint(run.work_dir)


def run_config(
    config: str | Path | Config,
    work_dir: str | Path | None,
    changes: Mapping[str, Any] | None,
    launcher: str,
    verbose: bool,
    own_part: str,
) -> Config:
    """The config of a run of MMEngine's runner; arguments as of :func:`train`.

    ``own_part`` is what is read of a config besides what the runner reads.
    """
    given = copy.deepcopy(config) if isinstance(config, Config) else config
    run = changed_config(given, changes, RUN_PARTS | {own_part})
    run.setdefault('default_scope', SCOPE)
    run.work_dir = str(work_dir or run.get('work_dir') or f'work_dirs/{name_of(run)}')
    run.launcher, run.verbose = launcher, verbose
    return run


def name_of(config: Config) -> str:
    """What a config's file is called."""
    return Path(config.filename or 'config').stem


def take_up_training(config: Config, resume: bool) -> None:
    """Takes up the training that the work directory has; leaves it alone if not asked to."""
    found = (checkpoint_to_resume if resume else last_checkpoint)(config.work_dir)
    if found and not resume:
        raise ValueError(
            f'{config.work_dir} has a training that got to {found.name}: resume it (--resume), or '
            'choose another work_dir (--work-dir)'
        )
    if resume and not found:
        raise ValueError(f'there is nothing to resume in {config.work_dir}: no checkpoint yet')
    if resume:
        config.resume, config.load_from = True, str(found)
