"""The configs of schedulers as diffusers has them, there and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmagic_adm.diffusion.noise_schedules import NOISE_SCHEDULES, noise_schedule

# Its conventions, by ours.
_PREDICTIONS = {'epsilon': 'epsilon', 'start_x': 'sample'}
_SCHEDULES = {
    'linear': 'linear',
    'scaled_linear': 'scaled_linear',
    'cosine': 'squaredcos_cap_v2',
    'squaredcos_cap_v2': 'squaredcos_cap_v2',
}
_BETAS = (1e-4, 0.02)
_VARIANCES = ('learned_range', 'fixed_large', 'fixed_small')

# What of a discrete solver's config describes the process; the rest is how it steps.
_PROCESS = {
    'num_train_timesteps': 1000,
    'beta_start': 1e-4,
    'beta_end': 0.02,
    'beta_schedule': 'linear',
    'trained_betas': None,
    'prediction_type': 'epsilon',
    'variance_type': None,
    'clip_sample': None,
}
# What our config of a solver of theirs has beside the solver's own settings.
_OWN = (
    'type',
    'type_',
    '_scope_',
    'num_train_timesteps',
    'beta_schedule',
    'prediction_type',
    'variance_type',
    'clip_sample',
    'rescale_timesteps',
)
# Settings that change nothing but when they have another value than this.
_IDLE = {
    'thresholding': False,
    'dynamic_thresholding_ratio': 0.995,
    'clip_sample_range': 1.0,
    'sample_max_value': 1.0,
    'timestep_spacing': 'leading',
    'steps_offset': 0,
    'rescale_betas_zero_snr': False,
    'set_alpha_to_one': True,
}
# DDIM as its authors have it: the noise is derived again from the clipped image. It is a solver of
# diffusers' of the first order, whose "thresholding" clips at 1, and which takes learned variances.
_DDIM = dict(
    algorithm_type='dpmsolver++',
    solver_order=1,
    timestep_spacing='trailing',
    final_sigmas_type='zero',
    dynamic_thresholding_ratio=1.0,
    sample_max_value=1.0,
)


def to_diffusers_scheduler(
    scheduler: Mapping[str, Any], preconditioning: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The config of the scheduler of diffusers' that steps like one of ours.

    Args:
        scheduler: The config of ours.
        preconditioning: That of what is around the network, if it is told sigma.

    Raises:
        ValueError: There is none; the message says why.
    """
    kind = scheduler['type']
    if preconditioning is not None:
        return _of_sigmas(scheduler, preconditioning)
    theirs = _process(scheduler)
    clips = scheduler.get('clip_sample', True)
    if kind == 'DDPMScheduler':
        variance = scheduler.get('variance_type', 'learned_range')
        if variance not in _VARIANCES:
            raise ValueError(f'diffusers has no variances of type {variance!r}')
        return dict(_class_name=kind, **theirs, clip_sample=clips, variance_type=variance)
    if kind == 'DDIMScheduler':
        if scheduler.get('eta'):
            raise ValueError('diffusers has no eta in a config: give it when sampling')
        learned = scheduler.get('variance_type', 'learned_range').startswith('learned')
        if not scheduler.get('rederive_eps', True) and not learned:
            return dict(_class_name=kind, **theirs, clip_sample=clips)
        if not scheduler.get('rederive_eps', True) and clips:
            raise ValueError(
                'its DDIM derives no noise from the clipped image, which diffusers has for '
                'networks without variances alone (rederive_eps=True, clip_sample=False)'
            )
        variance = 'learned_range' if learned else None
        solver = dict(_DDIM, thresholding=clips, variance_type=variance)
        return dict(_class_name='DPMSolverMultistepScheduler', **theirs, **solver)
    if kind == 'DiffusersScheduler':
        own = {name: value for name, value in scheduler.items() if name not in _OWN}
        return dict(_class_name=scheduler['type_'], **theirs, **own)
    raise ValueError(f'diffusers has no scheduler like {kind}')


def from_diffusers_scheduler(
    config: Mapping[str, Any], learns_variance: bool
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The same backwards.

    Args:
        config: The config of a scheduler of diffusers'.
        learns_variance: Whether the network has channels for a variance.

    Returns:
        The config of our scheduler; and that of what is around the network, if it is told sigma.

    Raises:
        ValueError: We have none; the message says why.
    """
    kind = config.get('_class_name')
    said = {name: value for name, value in config.items() if not name.startswith('_')}
    if kind == 'CMStochasticIterativeScheduler':
        _expect(said, kind, s_noise=1.0)
        return _of_consistency(said)
    if kind == 'EDMEulerScheduler':
        _expect(
            said, kind, sigma_schedule='karras', prediction_type='epsilon', final_sigmas_type='zero'
        )
        return _of_edm(said)
    if (
        not isinstance(kind, str)
        or 'num_train_timesteps' not in said
        or 'trained_betas' not in said
    ):
        raise ValueError(f'{kind} has no counterpart here: it walks no process of betas')
    learned = 'learned_range' if learns_variance else 'fixed_small'
    process = _PROCESS | {name: said[name] for name in _PROCESS if name in said}
    ours = dict(
        num_train_timesteps=process['num_train_timesteps'],
        beta_schedule=_our_betas(process, kind),
        prediction_type=_ours(_PREDICTIONS, process['prediction_type'], kind, 'predictions'),
        variance_type=process['variance_type'] or learned,
        # The other solvers have no such setting, and leave images as they are.
        clip_sample=said.get('clip_sample', kind in ('DDPMScheduler', 'DDIMScheduler')),
    )
    if ours['variance_type'] not in _VARIANCES:
        raise ValueError(f'{kind} has variances of type {ours["variance_type"]!r}, as none here')
    own = {name: value for name, value in said.items() if name not in _PROCESS}
    moved = {name for name, value in own.items() if value != _IDLE.get(name, value)}
    moved -= {'dynamic_thresholding_ratio', 'sample_max_value'}
    if kind in ('DDPMScheduler', 'DDIMScheduler') and not moved:
        rule = {'rederive_eps': False} if kind == 'DDIMScheduler' else {}
        return dict(type=kind, **ours, **rule), None
    if own.items() >= _DDIM.items():
        return dict(type='DDIMScheduler', **ours | dict(clip_sample=own['thresholding'])), None
    _expect(own, kind, thresholding=False, clip_sample_range=1.0, rescale_betas_zero_snr=False)
    return dict(type='DiffusersScheduler', type_=kind, **ours, **own), None


def _process(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """What describes the process that a network was trained on."""
    steps, schedule = scheduler.get('num_train_timesteps', 1000), scheduler.get('beta_schedule')
    predicts = scheduler.get('prediction_type', 'epsilon')
    if predicts not in _PREDICTIONS:
        raise ValueError(f'diffusers has no network that predicts {predicts!r}')
    theirs: dict[str, Any] = dict(
        num_train_timesteps=steps, prediction_type=_PREDICTIONS[predicts], trained_betas=None
    )
    schedule = 'linear' if schedule is None else schedule
    if isinstance(schedule, str) and schedule in _SCHEDULES:
        # The ends of ours scale with the number of timesteps, where its betas are linear.
        scale = 1000 / steps if schedule == 'linear' else 1.0
        start, end = (scale * beta for beta in _BETAS)
        return theirs | dict(beta_schedule=_SCHEDULES[schedule], beta_start=start, beta_end=end)
    return theirs | dict(trained_betas=noise_schedule(schedule, steps).tolist())


def _our_betas(process: Mapping[str, Any], kind: str) -> Any:
    """The schedule's name, where it is one of ours, or its betas."""
    if process['trained_betas'] is not None:
        return process['trained_betas']
    name = _ours(_SCHEDULES, process['beta_schedule'], kind, 'betas')
    if name == 'cosine':
        return name
    start, end = process['beta_start'], process['beta_end']
    steps = process['num_train_timesteps']
    if name == 'linear':
        betas = np.linspace(start, end, steps)
    else:
        betas = np.linspace(start**0.5, end**0.5, steps) ** 2
    is_ours = np.allclose(betas, NOISE_SCHEDULES[name](steps), rtol=1e-9)
    return name if is_ours else betas.tolist()


def _of_sigmas(scheduler: Mapping[str, Any], around: Mapping[str, Any]) -> dict[str, Any]:
    kind, c_noise = scheduler['type'], around.get('c_noise', 0.25)
    levels = {name: scheduler.get(name, value) for name, value in _LEVELS.items()}
    data = dict(sigma_data=around.get('sigma_data', 0.5))
    if kind == 'ConsistencyScheduler' and (c_noise, around.get('sigma_min')) == (
        250.0,
        levels['sigma_min'],
    ):
        return dict(
            _class_name='CMStochasticIterativeScheduler',
            num_train_timesteps=scheduler.get('num_scales', 40),
            clip_denoised=scheduler.get('clip_sample', True),
            s_noise=1.0,
            **levels,
            **data,
        )
    if scheduler.get('S_churn') or scheduler.get('solver') == 'ancestral':
        raise ValueError('no scheduler of diffusers adds noise anew as EDM does')
    if kind == 'EDMHeunScheduler' and c_noise == 0.25 and not around.get('sigma_min'):
        return dict(
            _class_name='EDMEulerScheduler',
            prediction_type='epsilon',
            final_sigmas_type='zero',
            sigma_schedule='karras',
            **levels,
            **data,
        )
    raise ValueError(
        f'no scheduler of diffusers tells a network {c_noise} ln sigma and steps like {kind}'
    )


_LEVELS = {'sigma_min': 0.002, 'sigma_max': 80.0, 'rho': 7.0}


def _of_consistency(said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    levels = {name: said.get(name, value) for name, value in _LEVELS.items()}
    ours = dict(
        type='ConsistencyScheduler',
        num_scales=said.get('num_train_timesteps', 40),
        clip_sample=said.get('clip_denoised', True),
        **levels,
    )
    around = dict(
        type='EDMPrecond',
        sigma_data=said.get('sigma_data', 0.5),
        sigma_min=levels['sigma_min'],
        c_noise=250.0,
    )
    return ours, around


def _of_edm(said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    levels = {name: said.get(name, value) for name, value in _LEVELS.items()}
    ours = dict(type='EDMHeunScheduler', solver='euler', **levels)
    return ours, dict(type='EDMPrecond', sigma_data=said.get('sigma_data', 0.5))


def _ours(names: Mapping[str, str], theirs: Any, kind: str, what: str) -> str:
    for ours, name in names.items():
        if name == theirs:
            return ours
    raise ValueError(f'{kind} has {what} of kind {theirs!r}, which have no counterpart here')


def _expect(said: Mapping[str, Any], kind: str, **values: Any) -> None:
    for name, value in values.items():
        if said.get(name, value) != value:
            raise ValueError(f'{kind} with {name}={said[name]!r} has no counterpart here')
