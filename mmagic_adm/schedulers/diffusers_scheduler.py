"""Any solver of the diffusers library, driven like our own schedulers."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.diffusion import NoiseLevel, NoiseSchedule, check_generators, space_timesteps
from mmagic_adm.guidance.base import Guide, Moment
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers.base import Denoise, StepNoise
from mmagic_adm.schedulers.diffusers_solvers import build_solver
from mmagic_adm.schedulers.discrete import DiscreteScheduler


@DIFFUSION_SCHEDULERS.register_module()
class DiffusersScheduler(DiscreteScheduler):
    """Hands the guided noise prediction to a solver of diffusers.

    Image and noise are told apart, clipped and guided here, on our process; the solver gets the
    noise that results, and the process's betas, and decides where to step. It keeps a history, so
    every walk has a solver of its own. Like diffusers' tables, its arithmetic is in float32.

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
        self._order: int = self.solver.order

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
            spacing: dict = {'num_inference_steps': len(kept)}
        elif 'timesteps' in inspect.signature(self.solver.set_timesteps).parameters:
            spacing = {'timesteps': kept[::-1]}
        else:
            raise ValueError(
                f'{type(self.solver).__name__} spaces its steps by itself: instead of {spec!r} '
                'give their number'
            )
        self._spaced = copy.deepcopy(self.solver)
        try:
            self._spaced.set_timesteps(**spacing)
        except ValueError as error:
            raise ValueError(
                f'{type(self.solver).__name__} of the diffusers that is installed cannot take '
                f'{len(kept)} steps ({error}); choose another solver, or a newer diffusers'
            ) from error
        process, timesteps = self.full_process, self._spaced.timesteps.tolist()
        self._calls = [process.level_at(t) for t in timesteps]
        # One of higher order calls the network more than once in each step but the last.
        self.levels = self._calls[:: self._order]

    @property
    def timesteps(self) -> list[Any]:
        """The timesteps at which the network is called, noisiest first."""
        return [level.timestep for level in self.calls()]

    def calls(self, skip: int = 0) -> Sequence[NoiseLevel]:
        """The levels at which a walk calls the denoiser."""
        return self._calls[skip * self._order :] if self.levels else []

    def init_noise(self, noise: Tensor) -> Tensor:
        """The sample to start from, at the scale that the solver works at."""
        _ = self.levels  # which says if there are none yet
        return noise * float(self._spaced.init_noise_sigma)

    def noised(self, images: Tensor, noise: Tensor, skip: int) -> Tensor:
        """Images as noisy as samples are after so many steps, at the scale of the solver."""
        solver, first = self._started(skip)
        x_t = super().noised(images, noise, skip)
        return x_t / solver.scale_model_input(torch.ones(()), solver.timesteps[first]).item()

    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Algorithm 2 of ADM around the solver's steps; see `Scheduler.steps`."""
        solver, first = self._started(skip)
        x, last = x.float(), len(self._calls) - 1
        for k, level in enumerate(self.calls(skip), start=first):
            t = solver.timesteps[k]
            x_t = solver.scale_model_input(x, t)
            x_0 = denoiser(x_t, level).x_0
            eps = level.eps(x_t, x_0)
            if guidance is not None:
                eps = guidance.shift_eps(Moment(x_t, level, x_0), eps)
                x_0 = level.x_0(x_t, eps)
            x = solver.step(eps.float(), t, x, **self._randomness(draw, x)).prev_sample
            if k == last or (k + 1) % self._order == 0:
                yield x, x_0

    def _started(self, skip: int) -> tuple[Any, int]:
        """A solver for one walk, which begins after so many steps, and its first timestep."""
        solver, first = copy.deepcopy(self._spaced), skip * self._order
        if first and not solver.config.get('skip_prk_steps', True):
            raise ValueError(
                f'{type(solver).__name__} begins with steps of another kind, so it cannot begin in '
                'the middle: give it skip_prk_steps=True'
            )
        if hasattr(solver, 'set_begin_index'):
            solver.set_begin_index(first)
        return solver, first

    def _randomness(self, draw: StepNoise, x: Tensor) -> dict[str, Any]:
        """The arguments that tell the solver what its noise is, if it uses any."""
        takes, generators = inspect.signature(self.solver.step).parameters, draw.generators
        if draw.is_given:
            if 'variance_noise' not in takes:
                raise ValueError(
                    f'{type(self.solver).__name__} cannot be given its noise; give a generator'
                )
            return {'variance_noise': draw(x)}
        if 'generator' not in takes:
            return {}
        if generators is not None and not isinstance(generators, torch.Generator):
            check_generators(generators, len(x))
            generators = list(generators)
        return {'generator': generators}
