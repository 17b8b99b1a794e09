"""Another scheduler than the model's own, for the process that its network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from mmagic_adm.diffusion import GaussianDiffusion
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, build_part

# What describes the network's training; another scheduler must not fall back to its defaults.
TRAINED_PROCESS = (
    'num_train_timesteps',
    'prediction_type',
    'variance_type',
    'rescale_timesteps',
)


def build_scheduler(
    changes: Mapping[str, Any],
    own: Mapping[str, Any] | Any,
    process: GaussianDiffusion,
) -> Any:
    """The scheduler that a config with changes describes.

    Args:
        changes: Without ``type``, what to change in the model's own config; with it, another kind
            of scheduler, which takes what describes the network's training from there.
        own: Config of the model's scheduler.
        process: The process that the model's scheduler walks, over all timesteps.
    """
    if not isinstance(own, dict):
        raise ValueError(
            'scheduler_kwargs change the config of the scheduler, but this model was given a '
            'scheduler already built; set model.diffusion_scheduler instead'
        )
    if 'type' not in changes:
        return build_part(DIFFUSION_SCHEDULERS, {**own, **changes})
    taken = _arguments_of(DIFFUSION_SCHEDULERS.get(changes['type']))
    kept = {key: own[key] for key in TRAINED_PROCESS if key in own and key in taken}
    if 'clip_sample' in taken and own.get('clip_sample') is False:
        kept['clip_sample'] = False  # what is diffused has no bounds
    if 'beta_schedule' not in taken:
        scheduler = build_part(DIFFUSION_SCHEDULERS, {**kept, **changes})
        scheduler.full_process = process
        return scheduler
    # The numbers, as what a schedule's name stands for may differ between schedulers.
    kept['beta_schedule'] = process.betas.tolist()
    return build_part(DIFFUSION_SCHEDULERS, {**kept, **changes})


def _arguments_of(kind: type) -> set[str]:
    """What a class takes, and what it hands on to those that it builds on."""
    taken: set[str] = set()
    for each in kind.__mro__:
        if '__init__' in vars(each):
            parameters = signature(each).parameters.values()
            taken |= {parameter.name for parameter in parameters}
            if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
                break
    return taken
