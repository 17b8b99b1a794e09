"""What a checkpoint has to hold, beyond MMEngine's own, for a training to go on from it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmagic_adm.diffusion import TimestepSampler
from mmagic_adm.registry import HOOKS

# Parts of a config that say what is trained; and what in them does not.
OF_TRAINING = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg')
OF_NO_MATTER = ('pretrained_cfgs', 'use_checkpoint', 'num_workers', 'persistent_workers')


@HOOKS.register_module()
class TrainingState(Hook):
    """Keeps the state of the model's timestep sampler, and what the training was made from.

    Refuses to go on from a checkpoint of another model, and warns of what else has changed.
    """

    def before_train(self, runner: Runner) -> None:
        """Checks that checkpoints come between two steps of the optimiser."""
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
        sampler = _timestep_sampler(runner)
        checkpoint['training_state'] = dict(
            made_from=_made_from(runner),
            timestep_sampler=sampler.state_dict() if sampler else {},
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
        _check_same(state['made_from'], _made_from(runner), runner)
        sampler = _timestep_sampler(runner)
        if sampler:
            sampler.load_state_dict(
                {name: tensor.cpu() for name, tensor in state['timestep_sampler'].items()}
            )


def _timestep_sampler(runner: Runner) -> TimestepSampler | None:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return getattr(getattr(model, 'loss', None), 'timestep_sampler', None)


def _without_functions(state: Any) -> Any:
    """The state of schedulers, without the functions that MMEngine has among it.

    A scheduler that is built anew has the same ones; a file that holds any is not safe to open.
    """
    if isinstance(state, (list, tuple)):
        return type(state)(_without_functions(entry) for entry in state)
    if isinstance(state, dict):
        return {
            key: _without_functions(entry) for key, entry in state.items() if not callable(entry)
        }
    return state


def _made_from(runner: Runner) -> dict[str, str]:
    """What the training is made from, flat: 'model.unet.dropout' and so on."""
    config = runner.cfg.to_dict()
    parts = {name: config.get(name) for name in OF_TRAINING}
    return dict(_flat(parts), processes=str(get_world_size()))


def _flat(value: Any, name: str = '') -> Iterator[tuple[str, str]]:
    if not isinstance(value, (dict, list, tuple)):
        yield name, repr(value)
        return
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        if key not in OF_NO_MATTER:
            yield from _flat(entry, f'{name}.{key}' if name else str(key))


def _check_same(there: dict[str, str], here: dict[str, str], runner: Runner) -> None:
    changed = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    if not changed:
        return
    listed = ', '.join(
        f'{key} ({there.get(key, "nothing")} there, {here.get(key, "nothing")} here)'
        for key in changed[:5]
    )
    if any(key.startswith('model.') for key in changed):
        raise ValueError(
            f'the training to resume is of another model: {listed}. Give another --work-dir to '
            'start anew, or the config that it was started with'
        )
    runner.logger.log(logging.WARNING, f'The training to resume was started otherwise: {listed}')
