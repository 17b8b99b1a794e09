"""Checkpoints that a training can go on from: written whole, with all its state, and sound."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmagic_adm.arguments import whole
from mmagic_adm.engine.run_folder import differences, flattened
from mmagic_adm.files.archives import is_sound
from mmagic_adm.files.whole import CheckpointError, written_whole
from mmagic_adm.models.losses import TrainingLoss
from mmagic_adm.networks.network import move
from mmagic_adm.registry import HOOKS

WHOLE_FILES = 'whole_files'

# Parts of a config that say what is trained.
OF_TRAINING = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg')


@register_backend(WHOLE_FILES)
class WholeFiles(LocalBackend):
    """The local disk, where a file appears once all of it is written."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes a file."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path, len(obj), overwrite=True) as temporary:
            super().put(obj, temporary)


@HOOKS.register_module()
class WholeCheckpoints(CheckpointHook):
    """MMEngine's CheckpointHook, in which an old checkpoint goes when the new one is there.

    Args:
        interval: Iterations between checkpoints.
        max_keep_ckpts: How many are kept; -1 keeps all.
        **kwargs: What else MMEngine's hook takes.
    """

    def __init__(self, interval: int, max_keep_ckpts: int = 2, **kwargs: Any) -> None:
        if interval != -1:
            whole(interval, 'interval of checkpoints is in iterations, from 1 on, or -1 for none')
        kwargs = dict(by_epoch=False, backend_args=dict(backend=WHOLE_FILES)) | kwargs
        super().__init__(interval=interval, max_keep_ckpts=max_keep_ckpts, **kwargs)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # MMEngine's own deletes the oldest first, unless there is room for one more.
        is_full = self.max_keep_ckpts > 0 and len(self.keep_ckpt_ids) == self.max_keep_ckpts
        is_new = is_full and self.keep_ckpt_ids[-1] != step
        outdated = self.keep_ckpt_ids.popleft() if is_new else None
        super()._save_checkpoint_with_step(runner, step, meta)
        if outdated is not None and is_main_process():
            Path(self.out_dir, self.filename_tmpl.format(outdated)).unlink(missing_ok=True)


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """The newest checkpoint of a training, if it has got so far."""
    return next(iter(_checkpoints(work_dir)), None)


def checkpoint_to_resume(work_dir: str | Path) -> Path | None:
    """The newest checkpoint of a training, found to be sound.

    Raises:
        CheckpointError: It is damaged; the message names the last that is not.
    """
    there = _checkpoints(work_dir)
    damaged = [*itertools.takewhile(lambda path: not is_sound(path), there)]
    if not damaged:
        return there[0] if there else None
    way_out = 'none is sound: start anew, with another --work-dir'
    if len(damaged) < len(there):
        way_out = f'delete it, and --resume goes on from {there[len(damaged)].name}, which is sound'
    names = ' and '.join(path.name for path in damaged)
    raise CheckpointError(f'{work_dir}: {names} is truncated or damaged; {way_out}')


def _checkpoints(work_dir: str | Path) -> list[Path]:
    """All of a training, the newest first."""
    numbered = {
        int(match[1]): path
        for path in Path(work_dir).absolute().glob('iter_*.pth')
        if (match := re.fullmatch(r'iter_(\d+)\.pth', path.name))
    }
    if numbered:
        return [numbered[iteration] for iteration in sorted(numbered, reverse=True)]
    # They may have other names, or go to another folder.
    note = Path(work_dir, 'last_checkpoint')
    named = os.fsdecode(note.read_bytes()) if note.is_file() else ''
    return [Path(named)] if os.path.isfile(named) else []


@HOOKS.register_module()
class StopOnNaN(Hook):
    """Stops when the loss, or a weight about to be saved, is no finite number."""

    priority = 'ABOVE_NORMAL'

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Looks at the loss."""
        # MMEngine's RuntimeInfoHook, which comes first, has waited for it.
        loss = runner.message_hub.get_scalar('train/loss').current()
        if not math.isfinite(loss):
            raise self._not_finite(runner, f'the loss is {loss}')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Looks at the weights."""
        for name, tensor in checkpoint['state_dict'].items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise self._not_finite(runner, f'{name} is not finite')

    def _not_finite(self, runner: Runner, what: str) -> FloatingPointError:
        rate, kept = runner.optim_wrapper.get_lr()['lr'][0], last_checkpoint(runner.work_dir)
        from_before = f'{kept} is from before' if kept else 'there is no checkpoint from before'
        return FloatingPointError(
            f'{what} at iteration {runner.iter + 1}, at a learning rate of {rate:.3g}; '
            f'{from_before}; a lower rate, clip_grad, or bfloat16 in place of float16 may help'
        )


@HOOKS.register_module()
class TrainingState(Hook):
    """Keeps the state of the model's loss, and what the training was made from.

    Refuses to go on from a checkpoint of another model, and warns of what else has changed.
    """

    copies: Sequence[nn.Module] = ()

    def before_run(self, runner: Runner) -> None:
        """Lets the loss copy the network, if it compares it with one."""
        if loss := _loss(runner):
            self.copies = loss.prepare(_network(runner))

    def after_sharding(self, runner: Runner, shard: Callable[[nn.Module], None]) -> None:
        """Shares the copies out as the network is."""
        for each in self.copies:
            shard(nn.ModuleDict(dict(unet=each)))

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Tells the loss of a step."""
        if runner.optim_wrapper.should_update() and (loss := _loss(runner)):
            loss.after_step(_network(runner))

    def before_train(self, runner: Runner) -> None:
        """Checks that checkpoints come between two steps of the optimiser."""
        if not runner._resume:
            # The network was given its weights since it was copied.
            for each in self.copies:
                move(each, _network(runner), 1.0)
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        interval = runner.cfg.get('default_hooks', {}).get('checkpoint', {}).get('interval', counts)
        if interval % counts:
            raise ValueError(
                f'a checkpoint every {interval} iterations falls between the {counts} whose '
                f'gradients are accumulated, and these would be lost: choose a multiple of {counts}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the state, and leaves out what no checkpoint can hold."""
        if 'param_schedulers' in checkpoint:
            checkpoint['param_schedulers'] = _without_functions(checkpoint['param_schedulers'])
        loss = _loss(runner)
        checkpoint['training_state'] = dict(
            made_from=_made_from(runner), loss=loss.state_dict() if loss else {}
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Takes up the state, if training is resumed."""
        if not runner._resume:
            return
        state = checkpoint.get('training_state')
        if state is None:
            raise ValueError(
                'this checkpoint is no training to go on with; start one from its weights with '
                'load_from, without --resume'
            )
        changed = differences(state['made_from'], _made_from(runner))
        listed = '; '.join([*changed.values()][:5])
        if any(key.startswith('model.') for key in changed):
            raise ValueError(
                f'the training to resume is of another model: {listed}. Give another --work-dir to '
                'start anew, or the config that it was started with'
            )
        if changed:
            runner.logger.warning(f'The training to resume was started with {listed}')
        if loss := _loss(runner):
            loss.load_state_dict(state.get('loss', {}))


def _model(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _loss(runner: Runner) -> TrainingLoss | None:
    loss = getattr(_model(runner), 'loss', None)
    return loss if isinstance(loss, TrainingLoss) else None


def _network(runner: Runner) -> nn.Module:
    return _model(runner).unet


def _without_functions(state: Any) -> Any:
    """The state of schedulers, without the functions that MMEngine has among it.

    A scheduler that is built anew has the same ones; a file that holds any is not safe to open.
    """
    if isinstance(state, (list, tuple)):
        return type(state)(_without_functions(entry) for entry in state)
    if isinstance(state, dict):
        kept = {key: entry for key, entry in state.items() if not callable(entry)}
        return {key: _without_functions(entry) for key, entry in kept.items()}
    return state


def _made_from(runner: Runner) -> dict[str, str]:
    """What the training is made from, flat: 'model.unet.dropout' and so on."""
    config = runner.cfg.to_dict()
    parts = {name: config.get(name) for name in OF_TRAINING}
    return dict(flattened(parts), processes=str(get_world_size()))
