"""Any solver of the diffusers library, driven like our own schedulers."""

import inspect
from typing import Any

import numpy as np
import torch

from mmagic_adm.diffusion import (
    Generators,
    NoiseLevel,
    NoiseSchedule,
    check_generators,
    space_timesteps,
)
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import (
    DiscreteScheduler,
    StepOutput,
    Timestep,
    as_number,
    check_finite,
    in_type_of,
    step_noise,
)
from mmagic_adm.schedulers.diffusers_solvers import build_solver
from mmagic_adm.schedulers.guided import Guidance, check_guidance


@DIFFUSION_SCHEDULERS.register_module()
class DiffusersScheduler(DiscreteScheduler):
    """Hands the guided noise prediction to a solver of diffusers.

    Image and noise are told apart, clipped and guided here, on our process; the solver gets the
    noise that results, and the process's betas, and decides where to step. It keeps a history, so
    the timesteps are taken in their order; taking the first one starts afresh. Like diffusers'
    tables, its arithmetic is in float32.

    Args:
        type_: Name of the solver's class, such as 'DPMSolverMultistepScheduler'.
        num_train_timesteps: See `DiscreteScheduler`.
        beta_schedule: See `DiscreteScheduler`.
        prediction_type: What the network predicts: 'epsilon' or 'start_x'.
        variance_type: Says how many channels the network has; its variance is not used.
        clip_sample: See `DiscreteScheduler`.
        rescale_timesteps: See `DiscreteScheduler`.
        solver_kwargs: The solver's own arguments, such as ``use_karras_sigmas=True``.
    """

    guidance_enters = 'eps'

    def __init__(
        self,
        type_: str = 'DPMSolverMultistepScheduler',
        num_train_timesteps: int = 1000,
        beta_schedule: NoiseSchedule = 'linear',
        prediction_type: str = 'epsilon',
        variance_type: str = 'learned_range',
        clip_sample: bool = True,
        rescale_timesteps: bool = False,
        **solver_kwargs: Any,
    ) -> None:
        super().__init__(
            num_train_timesteps,
            beta_schedule,
            prediction_type,
            variance_type,
            clip_sample,
            rescale_timesteps,
        )
        if prediction_type == 'previous_x':
            raise ValueError(
                "Solvers step over the process's timesteps, so a network that predicts the image "
                "of the timestep before (prediction_type='previous_x') cannot drive them"
            )
        self.solver = build_solver(
            type_,
            num_train_timesteps=num_train_timesteps,
            trained_betas=self.full_process.betas.tolist(),
            solver_kwargs=solver_kwargs,
        )
        self._step_arguments = inspect.signature(self.solver.step).parameters
        self._position = 0
        alpha_bar = self.full_process.train_alphas_cumprod
        self._sigmas = np.sqrt((1 - alpha_bar) / alpha_bar)

    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps.

        Args:
            spec: A number of steps, which the solver spaces in its own way; or, for solvers that
                can be told their timesteps, a spec as in `space_timesteps`. A solver may call the
                network more than once in a step.
        """
        total = self.num_train_timesteps
        kept = space_timesteps(total, spec)
        if spec is None or isinstance(spec, int):
            self._spacing: dict = {'num_inference_steps': len(kept)}
        elif 'timesteps' in inspect.signature(self.solver.set_timesteps).parameters:
            self._spacing = {'timesteps': kept[::-1]}
        else:
            raise ValueError(
                f'{type(self.solver).__name__} spaces its steps by itself: instead of {spec!r} '
                'give their number'
            )
        self._restart()

    def _restart(self) -> None:
        """Forgets the solver's history."""
        self.solver.set_timesteps(**self._spacing)
        if hasattr(self.solver, 'set_begin_index'):
            self.solver.set_begin_index(0)
        self._timesteps = self.solver.timesteps.tolist()
        self._position = 0

    def _locate(self, t: Timestep) -> int:
        """The position of the step whose turn it is, which must be ``t``."""
        t = as_number(t)
        first, total = self.timesteps[0], len(self.timesteps)
        turn = self.timesteps[self._position] if self._position < total else None
        if t == first and t != turn:
            self._restart()
        elif t != turn:
            after = 'all are taken' if turn is None else f'it is the turn of {turn}'
            raise ValueError(
                f'A solver takes its {total} timesteps in their order, from {first} to '
                f'{self.timesteps[-1]}: {after}, not of t={t}'
            )
        return self._position

    def init_noise(self, noise: torch.Tensor) -> torch.Tensor:
        """The sample to start from, at the scale that the solver works at."""
        return noise * float(self.solver.init_noise_sigma)

    def network_input(self, sample: torch.Tensor, t: Timestep) -> torch.Tensor:
        """The sample as the network knows it: signal and noise of unit variance together."""
        solver_t = self.solver.timesteps[self._locate(t)]
        return self.solver.scale_model_input(sample.float(), solver_t).to(sample.dtype)

    def step(
        self,
        model_output: torch.Tensor,
        t: Timestep,
        sample: torch.Tensor,
        *,
        guidance: Guidance | None = None,
        noise: torch.Tensor | None = None,
        generator: Generators = None,
    ) -> StepOutput:
        """Algorithm 2 of ADM around one step of the solver; see `Scheduler.step`.

        ``noise`` can be given to the solvers alone that take it.
        """
        position = self._locate(t)
        where = f't={as_number(t)} (timestep {position + 1} of {len(self.timesteps)})'
        check_finite(model_output, where)
        if guidance is not None:
            check_guidance(guidance, self.guidance_enters, type(self).__name__)
        randomness = self._randomness(sample, noise, generator)
        solver_t = self.solver.timesteps[position]
        x = sample.float()
        x_t = self.solver.scale_model_input(x, solver_t)

        level = self._level(as_number(t))
        prediction, _ = self.full_process.split_output(model_output.float(), x_t)
        is_eps = self.full_process.prediction_type == 'epsilon'
        x_0 = level.x_0(x_t, prediction) if is_eps else prediction
        if self.clip_sample:
            x_0 = x_0.clamp(-1, 1)
        x_0, eps = self._guided_parts(x_0, x_t, t, level, guidance)
        result = self.solver.step(eps, solver_t, x, **randomness)
        self._position += 1
        return in_type_of(sample, result.prev_sample, x_0)

    def _level(self, t: int | float) -> NoiseLevel:
        """Signal and noise at a timestep, which solvers also put between two of the process's."""
        sigma = float(np.interp(t, np.arange(len(self._sigmas)), self._sigmas))
        return NoiseLevel(signal=1 / (1 + sigma**2) ** 0.5, noise=sigma / (1 + sigma**2) ** 0.5)

    def _randomness(
        self, sample: torch.Tensor, noise: torch.Tensor | None, generator: Generators
    ) -> dict:
        """The arguments that tell the solver what its noise is, if it uses any."""
        if noise is not None:
            if 'variance_noise' not in self._step_arguments:
                raise ValueError(
                    f'{type(self.solver).__name__} cannot be given its noise; give a generator'
                )
            return {'variance_noise': step_noise(sample, noise, generator)}
        if 'generator' not in self._step_arguments:
            return {}
        if generator is not None and not isinstance(generator, torch.Generator):
            check_generators(generator, len(sample))
            generator = list(generator)
        return {'generator': generator}
