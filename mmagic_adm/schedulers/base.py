"""What every scheduler offers: a walk from noise to an image, one step after the other."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mmagic_adm.codecs import PIXELS, Codec
from mmagic_adm.denoisers import Denoiser
from mmagic_adm.diffusion import (
    GaussianDiffusion,
    Generators,
    NoiseLevel,
    Prediction,
    at_least_float32,
    randn_like_samples,
)
from mmagic_adm.guidance.base import Form, Guide, Moment, Path
from mmagic_adm.guidance.source import Gradient, as_guide

Denoise = Denoiser | Callable[[Tensor, NoiseLevel], Prediction]


class StepNoise:
    """Gives each step its standard normal noise.

    Args:
        generators: What it is drawn from, see `randn_samples`.
        given: The noise itself instead, for one step after the other.
    """

    def __init__(
        self, generators: Generators = None, given: Sequence[Tensor] | Tensor | None = None
    ) -> None:
        self.generators = generators
        self.is_given = given is not None
        self._given = iter(() if given is None else given)

    def __call__(self, x: Tensor) -> Tensor:
        """The noise for samples like these."""
        if not self.is_given:
            return randn_like_samples(x, self.generators)
        noise = next(self._given)
        if noise.shape != x.shape:
            raise ValueError(f'Noise of shape {(*noise.shape,)} for a sample of {(*x.shape,)}')
        return at_least_float32(noise)


def look(
    denoiser: Denoise, x: Tensor, level: NoiseLevel, guide: Guide | None, clipped: bool = False
) -> tuple[Tensor, Tensor]:
    """The image and the noise in x, under guidance by a gradient if there is any.

    Args:
        denoiser: Says which image is in a sample.
        x: The sample.
        level: How noisy it is.
        guide: Guidance.
        clipped: Whether the denoiser clips images, after which the noise is what they leave.
    """
    prediction = denoiser(x, level)
    x_0, eps = prediction.x_0.to(x.dtype), prediction.eps.to(x.dtype)
    if clipped:
        eps = level.eps(x, x_0)
    if guide is None or Form.GRADIENT not in guide.forms:
        return x_0, eps
    eps = guide.shift_eps(Moment(level.to_unit(x).float(), level, x_0.float()), eps)
    return level.x_0(x, eps), eps


@dataclass(frozen=True)
class Step:
    """One step of a walk, after it was taken.

    Attributes:
        index: Steps taken before this one.
        total: Steps in all.
        level: How noisy the sample was that the step started from.
        sample: The less noisy batch, (N, C, H, W); what is to be decoded, after the last step.
        pred_x0: What the denoiser believes the batch becomes.
        codec: What makes images of these.
    """

    index: int
    total: int
    level: NoiseLevel
    sample: Tensor
    pred_x0: Tensor
    codec: Codec = PIXELS

    @property
    def images(self) -> Tensor:
        """What the denoiser believes the batch becomes, as images."""
        return self.codec.decode(self.pred_x0)

    @property
    def timestep(self) -> float:
        """The level as a timestep of the discrete process, or else as its sigma."""
        level = self.level
        return float(level.sigma if level.timestep is None else level.timestep)


class Scheduler(ABC):
    """Walks from noise to an image.

    ::

        scheduler.set_timesteps(25)
        for step in scheduler.walk(denoiser, scheduler.init_noise(noise)):
            ...
        images = step.sample

    A scheduler of one's own decides on its ``levels`` in :meth:`set_timesteps`, and takes its steps
    in :meth:`steps`.

    Attributes:
        short_name: What it is called for short.
        guided_by: The forms of guidance that it takes, besides those that wrap the denoiser.
        full_process: The discrete process in whose timesteps guidance is told of noise.
        clip_sample: Whether predicted images are to be kept within [-1, 1].
        is_of_ends: Whether what it asks for is where the flow ends, as a consistency function says
            it, and not the mean of the images that may be in a sample.
    """

    short_name: ClassVar[str] = ''
    guided_by: frozenset[Form] = frozenset({Form.GRADIENT})
    full_process: GaussianDiffusion = GaussianDiffusion('cosine')
    clip_sample: bool = False
    is_of_ends: bool = False
    _levels: Sequence[NoiseLevel] = ()

    @property
    def levels(self) -> Sequence[NoiseLevel]:
        """Where each step starts, noisiest first; :meth:`set_timesteps` sets it."""
        if not self._levels:
            raise RuntimeError(f'{type(self).__name__} has no timesteps: call set_timesteps first')
        return self._levels

    @levels.setter
    def levels(self, levels: Sequence[NoiseLevel]) -> None:
        self._levels = list(levels)

    @abstractmethod
    def set_timesteps(self, spec: str | int | None) -> None:
        """Decides on the steps, by setting ``levels``.

        Args:
            spec: A number of steps, or a spec in the family's language; None leaves it to the
                scheduler.
        """

    @abstractmethod
    def steps(
        self, denoiser: Denoise, x: Tensor, *, guidance: Guide | None, draw: StepNoise, skip: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Takes one step after the other; see :meth:`walk`.

        Args:
            denoiser: Says which image is in a sample.
            x: The sample to start from.
            guidance: What acts in the steps.
            draw: Gives a step's noise.
            skip: Steps that are left out at the start.

        Yields:
            After each step the sample, and the image that it heads for.
        """

    def walk(
        self,
        denoiser: Denoise,
        x: Tensor,
        *,
        guidance: Guide | Gradient | None = None,
        generators: Generators = None,
        noises: Sequence[Tensor] | Tensor | None = None,
        skip: int = 0,
    ) -> Iterator[Step]:
        """Walks from noise to an image.

        All that a walk keeps is its own: others may begin on the same scheduler, or its timesteps
        be set anew, before it ends.

        Args:
            denoiser: Says which image is in a sample, ``denoiser(x_t, level) -> Prediction``.
            x: What :meth:`init_noise` or :meth:`noised` gave.
            guidance: What acts in the steps: guidance bound to the batch, or a plain function
                ``(x_t, t, pred_x0) -> gradient``. What wraps the denoiser is not for here.
            generators: What the steps' noise is drawn from, see `randn_samples`.
            noises: The steps' standard normal noise, instead of drawing it: one for each step.
            skip: Steps to leave out at the start; ``x`` is as noisy as after them.

        Returns:
            The steps, each taken when it is asked for.
        """
        total = len(self.levels) - skip
        if skip < 0 or total < 1:
            raise ValueError(f'of {len(self.levels)} steps, {skip} cannot be left out')
        guide = as_guide(guidance, Path(self.calls(skip), self.full_process), x.device)
        own = copy.copy(self)
        draw = StepNoise(generators, noises)
        pairs = own.steps(denoiser, x, guidance=guide, draw=draw, skip=skip)
        return (
            Step(index, total, level, sample, x_0)
            for index, (level, (sample, x_0)) in enumerate(
                zip(own.levels[skip:], pairs, strict=True)
            )
        )

    def process_for(self, network: Any) -> GaussianDiffusion:
        """The process that a network was trained on, if this scheduler's config describes it."""
        return self.full_process

    def process_walked(self, process: GaussianDiffusion) -> GaussianDiffusion:
        """The timesteps of a process that are walked, for networks that know these alone."""
        return process

    def calls(self, skip: int = 0) -> Sequence[NoiseLevel]:
        """The levels at which a walk calls the denoiser; by default once in each step."""
        return self.levels[skip:]

    def init_noise(self, noise: Tensor) -> Tensor:
        """The sample to start from, made of standard normal noise."""
        return noise

    def noised(self, images: Tensor, noise: Tensor, skip: int) -> Tensor:
        """Images as noisy as samples are after so many steps: what to go on from."""
        return self.levels[skip].mix(images, noise)


def landed(x: Tensor, level: NoiseLevel, guide: Guide | None, draw: StepNoise) -> Tensor:
    """The sample that a step led to, as guidance would have it."""
    return x if guide is None else guide.land(x, level, draw)
