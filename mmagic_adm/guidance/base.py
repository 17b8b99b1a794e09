"""What guidance is, in its forms, and what it is given: a batch, and a moment of its walk.

It wraps the denoiser; or it has a gradient, which schedulers mix in by ADM's algorithms 1 and 2; or
it has a hand in a step by itself. Each is one method, which is told of the batch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mmagic_adm.arguments import Argument, finite
from mmagic_adm.codecs import PIXELS, Codec
from mmagic_adm.configs import nearest
from mmagic_adm.denoisers.base import Denoiser, told_to_all
from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel
from mmagic_adm.diffusion.tables import Coefficient
from mmagic_adm.guidance.pace import Pace

Scale = float | Sequence[float] | Tensor
Draw = Callable[[Tensor], Tensor]
"""Gives standard normal noise for samples like these, from each sample's own generator."""


def as_scales(scale: Scale) -> Tensor:
    """A scale, or one for each sample, as a tensor on the CPU.

    Raises:
        ValueError: One of them is no number, or infinite.
    """
    try:
        scales = torch.as_tensor(scale, dtype=torch.float32).cpu()
    except (TypeError, ValueError, RuntimeError):
        scales = torch.tensor(math.nan)
    if isinstance(scale, bool) or not scales.isfinite().all():
        raise ValueError(
            f'the scale of guidance is a finite number, or one for each sample; not {scale!r}'
        )
    return scales


class Form(Enum):
    """Where guidance acts."""

    DENOISER = 'wraps the denoiser'
    IMAGE = 'corrects the predicted image'
    GRADIENT = 'is a gradient'
    STEP = 'settles a stochastic step'
    SAMPLE = 'pushes the sample before the denoiser sees it'
    LANDING = 'moves the sample where a step has led'
    MIXTURE = 'mixes image and noise of a step'


class Need(Enum):
    """What guidance asks of the model that it guides."""

    CLASSIFIER = 'a classifier that knows noise'
    NULL_LABEL = 'a network that was trained with labels left out'
    MIDDLE = 'a network whose middle attends'
    IMAGENET = "ImageNet's classes"
    PARTS = 'parts that a config names'


SCALE = Argument('scale', 1.0, 0.0, 10.0, 'how strong it is')

# Any scheduler will do for what acts outside its steps.
OUTSIDE_STEPS = frozenset({Form.DENOISER, Form.IMAGE})


class Guided(Protocol):
    """What guidance asks of a scheduler.

    Attributes:
        guided_by: The forms of guidance that it takes.
        full_process: The process in whose timesteps guidance is told of noise.
        is_of_ends: Whether it asks where the flow ends, and not for the mean of images.
    """

    guided_by: frozenset[Form]
    full_process: GaussianDiffusion
    is_of_ends: bool


@dataclass(frozen=True)
class Path:
    """The way of one walk.

    Args:
        levels: Those at which the denoiser is called, noisiest first.
        process: The process in whose timesteps guidance is told of them.
        codec: What makes images of what is diffused, for guidance that looks at them.
    """

    levels: Sequence[NoiseLevel]
    process: GaussianDiffusion
    codec: Codec = PIXELS

    @cached_property
    def timesteps(self) -> list[float]:
        """The levels as timesteps, each once."""
        return list(dict.fromkeys(float(self.process.told(level)) for level in self.levels))

    def nearest(self, level: NoiseLevel) -> float:
        """The timestep of the walk that a level is, or is nearest to; of several, the least."""
        told = self.process.told(level)
        now = float(told.min() if isinstance(told, Tensor) else told)
        return now if now in self.timesteps else min(self.timesteps, key=lambda t: abs(t - now))


@dataclass(frozen=True)
class Batch:
    """What guidance knows of the samples of one walk.

    Args:
        path: The walk's way.
        labels: Class of each sample, (N,).
        scales: The scale: a number, or one for each sample, (N, 1, 1, 1).
        rows: Which samples have a scale other than 0; None is all.
        factor: Factor on the scale at a level, 0 where guidance is skipped.
        parts: Guidance that this one is made of, each for the same samples.
        memory: What guidance keeps from one step of the walk for another.
    """

    path: Path
    labels: Tensor | None = None
    scales: float | Tensor = 1.0
    rows: Tensor | None = None
    factor: Callable[[NoiseLevel], float] = lambda level: 1.0
    parts: tuple[Guide, ...] = ()
    memory: dict[str, Any] = field(default_factory=dict)

    def timesteps(self, level: NoiseLevel, x: Tensor) -> Tensor:
        """What networks beside the sampled one are told of a level, (N,)."""
        return told_to_all(self.path.process.told(level), x)


class Moment(NamedTuple):
    """What a gradient looks at: x_t of unit variance, how noisy it is, and which image is in it."""

    x_t: Tensor
    level: NoiseLevel
    x_0: Tensor


class StochasticStep(NamedTuple):
    """A step of a stochastic sampler, x_{t-1} = mean + noise."""

    moment: Moment
    mean: Tensor
    variance: Tensor
    """That of p(x_{t-1} | x_t)."""
    weight: Tensor
    """What a gradient is multiplied with by default: in ADM the variance."""
    noise: Tensor
    """The fresh noise, with its standard deviation; zero in the last step."""
    image_share: Coefficient
    """The factor on the image in the mean."""
    draw: Draw
    """Gives more noise."""


class Mixture(NamedTuple):
    """The parts of a step to another level: an image, the noise in x_t, and fresh noise."""

    x_0: Tensor
    eps: Tensor
    z: Tensor
    there: NoiseLevel
    fresh: float | Tensor
    """The factor on fresh noise."""
    kept: float | Tensor
    """The factor on the noise in x_t."""

    def plain(self) -> Tensor:
        """The sample at that level."""
        return self.there.signal * self.x_0 + self.kept * self.eps + self.fresh * self.z


class Guidance(nn.Module):
    """Base of all guidance. Its networks stay in evaluation mode.

    Args:
        scale: How strong it is, where :meth:`bind` is not told.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.

    Attributes:
        forms: Where it acts.
        short_name: What it is called for short, as a model's config may call it.
        usual: Arguments that go with that name, where others than the class's own are usual.
        requires: What it asks of the model.
        arguments: Its numbers, with their ranges.
    """

    forms: frozenset[Form] = frozenset()
    short_name: ClassVar[str] = ''
    usual: ClassVar[Mapping[str, Any]] = {}
    requires: ClassVar[frozenset[Need]] = frozenset()
    arguments: ClassVar[tuple[Argument, ...]] = (SCALE,)

    def __init__(self, scale: float = 1.0, **pace: Any) -> None:
        super().__init__()
        name = type(self).__name__
        self.scale = finite(scale, f'scale of {name} is a finite number')
        for argument in pace.keys() - inspect.signature(Pace).parameters.keys():
            taken = [*inspect.signature(type(self)).parameters, *inspect.signature(Pace).parameters]
            hint = nearest(argument, taken, f'it takes {", ".join(taken)}')
            raise ValueError(f'{name} takes no {argument!r}; {hint}')
        self.pace = Pace(**pace)

    @property
    def num_classes(self) -> int | None:
        """How many classes this guidance tells apart, where it does and says."""
        return None

    def bind(
        self,
        path: Path,
        labels: Tensor | None = None,
        scale: Scale | None = None,
        device: torch.device | str = 'cpu',
    ) -> Guide | None:
        """Guidance of one batch on its walk; None where the scale leaves nothing to do.

        Args:
            path: The walk's way.
            labels: Class of each sample, (N,).
            scale: Overrides the scale: one number, or one per sample.
            device: Where the samples are.
        """
        scales = as_scales(self.scale if scale is None else scale)
        if not scales.any():
            return None
        # Here, so that no step copies anything to the device or asks it which rows to take.
        rows = None
        if scales.ndim and not scales.all():
            rows = scales.nonzero().flatten().to(device)
        told = scales.to(device).view(-1, 1, 1, 1) if scales.ndim else scales.item()
        return Guide(self, Batch(path, labels, told, rows, self.pace.over(path)))

    def wrap(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """A denoiser around another; by default the other."""
        return denoiser

    def correct(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The same around the denoiser whose images are clipped, if they are to be."""
        return denoiser

    def push(self, moment: Moment, weight: Tensor | float, batch: Batch) -> Tensor:
        """The gradient of a log-probability at x_t, times the scale and a weight.

        Args:
            moment: Where the walk is.
            weight: What the rule that mixes it in multiplies it with.
            batch: The samples.
        """
        raise NotImplementedError

    def shift_eps(self, moment: Moment, eps: Tensor, batch: Batch) -> Tensor:
        """The noise in x_t under guidance (ADM, algorithm 2)."""
        if Form.GRADIENT not in self.forms:
            return eps
        # eps ← eps - √(1 - ᾱ) ∇ log p
        return eps - self.push(moment, moment.level.unit().noise, batch)

    def settle(self, step: StochasticStep, batch: Batch) -> Tensor:
        """x_{t-1} of a stochastic step under guidance (ADM, algorithm 1)."""
        if Form.GRADIENT not in self.forms:
            return step.mean + step.noise
        # μ ← μ + s Σ ∇ log p
        return step.mean + self.push(step.moment, step.weight, batch) + step.noise

    def mix(self, mixture: Mixture, batch: Batch) -> Tensor:
        """The sample that the parts of a step make."""
        return mixture.plain()

    def land(self, x: Tensor, level: NoiseLevel, draw: Draw, batch: Batch) -> Tensor:
        """The sample to go on with, of the one that a step led to.

        Args:
            x: Where it led.
            level: How noisy that is.
            draw: Gives noise.
            batch: The samples.
        """
        return x

    def push_sample(
        self, x: Tensor, x_hat: Tensor, level: NoiseLevel, step: int, num_steps: int, batch: Batch
    ) -> Tensor:
        """The sample to show the denoiser, in place of ``x_hat``.

        Args:
            x: The samples so far.
            x_hat: The same with the noise that this step adds.
            level: How noisy ``x_hat`` is.
            step: Which step it is, counted from 0.
            num_steps: How many there are.
            batch: The samples.
        """
        raise NotImplementedError

    def check_fits(self, network: Any, scheduler: Guided) -> None:
        """Refuses, before anything is sampled, a network or scheduler it is not defined for.

        Args:
            network: The network that is sampled from.
            scheduler: The scheduler that takes the steps.

        Raises:
            ValueError: The message names both.
        """
        name = type(self).__name__
        for form in self.forms - scheduler.guided_by - OUTSIDE_STEPS:
            raise ValueError(
                f'{name} {form.value}, which {type(scheduler).__name__} has no place for; it takes '
                f'guidance that {" or ".join(sorted(other.value for other in scheduler.guided_by))}'
            )
        if scheduler.is_of_ends and Form.DENOISER in self.forms:
            raise ValueError(
                f'{name} {Form.DENOISER.value}, whose images are means, and '
                f'{type(scheduler).__name__} asks where the flow ends: distil a guided teacher '
                '(ConsistencyLoss), or guide by a gradient'
            )
        self.pace.check_fits(name, scheduler)
        classes = getattr(network, 'num_classes', None)
        if classes and self.num_classes and self.num_classes != classes:
            raise ValueError(
                f'the classifier of {name} tells {self.num_classes} classes apart, '
                f'the network has {classes}'
            )

    def train(self, mode: bool = True) -> Guidance:
        """Leaves the networks as they are: batch statistics would mix the samples of a batch."""
        return super().train(False)


@dataclass(frozen=True)
class Guide:
    """Guidance with the batch that it is for: what a walk is given."""

    guidance: Guidance
    batch: Batch

    @property
    def forms(self) -> frozenset[Form]:
        """Where it acts on this batch; parts of scale 0 are not there."""
        if not self.batch.parts:
            return self.guidance.forms
        of_parts = frozenset().union(*(part.forms for part in self.batch.parts))
        return self.guidance.forms & (of_parts | {Form.STEP, Form.SAMPLE})

    @property
    def in_step(self) -> Guide | None:
        """This, where it acts in steps."""
        return self if self.forms - OUTSIDE_STEPS else None

    def wrap(self, denoiser: Denoiser) -> Denoiser:
        """See :meth:`Guidance.wrap`."""
        return self.guidance.wrap(denoiser, self.batch)

    def correct(self, denoiser: Denoiser) -> Denoiser:
        """See :meth:`Guidance.correct`."""
        return self.guidance.correct(denoiser, self.batch)

    def push(self, moment: Moment, weight: Tensor | float = 1.0) -> Tensor:
        """See :meth:`Guidance.push`."""
        return self.guidance.push(moment, weight, self.batch)

    def shift_eps(self, moment: Moment, eps: Tensor) -> Tensor:
        """See :meth:`Guidance.shift_eps`."""
        return self.guidance.shift_eps(moment, eps, self.batch)

    def settle(self, step: StochasticStep) -> Tensor:
        """See :meth:`Guidance.settle`."""
        return self.guidance.settle(step, self.batch)

    def mix(self, mixture: Mixture) -> Tensor:
        """See :meth:`Guidance.mix`."""
        return self.guidance.mix(mixture, self.batch)

    def land(self, x: Tensor, level: NoiseLevel, draw: Draw) -> Tensor:
        """See :meth:`Guidance.land`."""
        return self.guidance.land(x, level, draw, self.batch)

    def push_sample(
        self, x: Tensor, x_hat: Tensor, level: NoiseLevel, step: int, num_steps: int
    ) -> Tensor:
        """See :meth:`Guidance.push_sample`."""
        return self.guidance.push_sample(x, x_hat, level, step, num_steps, self.batch)
