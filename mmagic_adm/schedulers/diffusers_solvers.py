"""Finds a solver in the diffusers library, and sees whether it fits a discrete process."""

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

# A process that ends with less of the image than this ends in nothing but noise. What a network
# says there is magnified ten thousandfold, from which no solver recovers, least of all when it is
# guided. DDIM's own spacing never goes there.
NO_SIGNAL = 1e-6


def build_solver(
    name: str, *, num_train_timesteps: int, trained_betas: list[float], solver_kwargs: Mapping
):
    """A solver of diffusers that takes the noise prediction of a network on this process.

    Unless told its spacing, the solver keeps away from a last timestep that is nothing but noise.

    Raises:
        ImportError: diffusers is not installed.
        ValueError: It has no such solver, or one that cannot walk this process, or one without
            these arguments.
    """
    solver = _find(name)
    arguments = inspect.signature(solver).parameters
    own = {
        'num_train_timesteps': num_train_timesteps,
        'trained_betas': trained_betas,
        'prediction_type': 'epsilon',
        # The image is clipped before guidance, not by the solver.
        'clip_sample': False,
    }
    replaced = {*own, 'beta_start', 'beta_end', 'beta_schedule'}
    for argument in solver_kwargs:
        if argument not in arguments or argument in replaced:
            known = sorted(set(arguments) - replaced)
            raise ValueError(
                f'{name} takes no argument {argument!r}{_suggest(argument, known)}. It takes '
                f'{", ".join(known)}'
            )
    signal = np.cumprod(1 - np.array(trained_betas))
    if signal[-1] < NO_SIGNAL:
        own['timestep_spacing'] = 'leading'
    given = {key: own[key] for key in own if key in arguments} | dict(solver_kwargs)
    with torch.device('cpu'):  # their tables are there, wherever networks are being built
        built = solver(**given)
    if not np.allclose(built.alphas_cumprod, signal, rtol=1e-3):
        raise ValueError(
            f'{name}, as it is set up, walks a process with other noise than the network was '
            'trained on'
        )
    return built


def _find(name: str) -> type:
    if importlib.util.find_spec('diffusers') is None:
        raise ImportError(
            f'{name} is a solver of diffusers, which is not installed: pip install '
            "'mmagic-adm[solvers]'"
        )
    diffusers = importlib.import_module('diffusers')
    names = [known for known in dir(diffusers) if known.endswith('Scheduler')]
    if name not in names:
        raise ValueError(f'diffusers has no solver {name!r}{_suggest(name, names)}')
    solver = getattr(diffusers, name)
    obstacle = _obstacle(solver, diffusers.SchedulerMixin)
    if obstacle:
        raise ValueError(f'{name} cannot be used here: {obstacle}')
    return solver


def _obstacle(solver: Any, base: type) -> str | None:
    """Why a class of diffusers' can't walk a process that is given by its betas, if it can't."""
    if not issubclass(solver, base):
        return 'a package that it needs is not installed'
    arguments = inspect.signature(solver).parameters
    if not {'num_train_timesteps', 'trained_betas', 'prediction_type'} <= set(arguments):
        return 'it is made for another kind of process'
    if 'Inverse' in solver.__name__:
        return 'it walks from image to noise, for which there is DDIMScheduler.to_noise'
    if 'noise_sampler_seed' in arguments:
        return 'it draws its noise for the batch as a whole, not for each sample'
    required = [
        argument
        for argument in list(inspect.signature(solver.step).parameters.values())[1:]
        if argument.default is inspect.Parameter.empty
    ]
    if len(required) != 3:
        return 'its step takes more than a model output, a timestep and a sample'
    return None


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f'; did you mean {" or ".join(close)}?' if close else ''
