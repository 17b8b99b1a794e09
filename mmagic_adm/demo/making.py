"""Making the samples of an order, step by step and within view."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from torch import Tensor

from mmagic_adm.apis.samples import Samples
from mmagic_adm.apis.sampling import sample_in_batches
from mmagic_adm.codecs import PixelCodec
from mmagic_adm.demo.background import Report, StoppedError
from mmagic_adm.demo.confidence import confidences
from mmagic_adm.demo.order import Order
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.models.sampling import Step

# As `sample` and mmagic-adm sample have it, so that they give the same to the last bit.
BATCH_SIZE = 8
STEPS_BETWEEN_LOOKS = 10


@dataclass(frozen=True)
class Sampled:
    """A sample that is done.

    Attributes:
        picture: Its pixels.
        seed: Its seed.
        label: Its class, if there are any.
        confidence: How sure a classifier is of the class, if there is one to ask.
        scale: The scale of its guidance; None where nothing guides.
    """

    picture: Image
    seed: int
    label: int | None
    confidence: float | None
    scale: float | None


@dataclass(frozen=True)
class Progress:
    """How far it has come.

    Attributes:
        text: What is going on.
        share: How much of it is done, from 0 to 1.
        done: The samples that are done.
        predicted: What the network believes that the batch in the making becomes.
        total: Samples in all.
    """

    text: str
    share: float = 0.0
    done: Sequence[Sampled] = ()
    predicted: Tensor | None = None
    total: int = 0


@dataclass(frozen=True)
class Made:
    """What came of an order.

    Attributes:
        samples: Those that are done: one scale after the other, each with the order's samples.
        total: How many were asked for.
        seconds: How long it took, without loading the model and waiting for it.
        trajectory: The way of the first batch, if it was asked for.
    """

    samples: Sequence[Sampled]
    total: int
    seconds: float
    trajectory: dict[str, Any] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nobody stopped it."""
        return len(self.samples) == self.total


def make(
    shelf: Shelf,
    order: Order,
    report: Report[Progress],
    scales: Sequence[float] | None = None,
    every: int | None = None,
    asked_of: Callable[[Any], Mapping[str, Any]] | None = None,
) -> Made:
    """Makes samples, waiting for the device if need be.

    Args:
        shelf: Where the models are.
        order: What is asked for.
        report: Told of every step; stops the work.
        scales: Guidance scales to make all samples at, in place of the order's.
        every: Keep every so many steps as a trajectory.
        asked_of: Gives, for the model, further arguments of
            :func:`~mmagic_adm.apis.sampling.sample_in_batches`, in the place of the order's.

    Raises:
        StoppedError: It was stopped before any sample was done.
    """
    report(Progress(f'Fetching {order.model}'), may_be_left=True)
    shelf.fetch_weights(order)
    report(Progress('Waiting for the device'), may_be_left=True)
    with shelf.next_turn():
        report(Progress(f'Loading {order.model}'), may_be_left=True)
        maker = _Maker(shelf, order, report, scales or [order.scale_to_give])
        try:
            maker.make_all(every, asked_of(maker.model) if asked_of else {})
        except StoppedError:
            if not maker.done:
                raise
        return Made(maker.done, maker.total, maker.seconds, maker.trajectory)


class _Maker:
    """Makes samples with one model, and keeps count of them."""

    def __init__(
        self,
        shelf: Shelf,
        order: Order,
        report: Report[Progress],
        scales: Sequence[float | None],
    ) -> None:
        self.shelf, self.order, self.report, self.scales = shelf, order, report, scales
        self.model = shelf.model_for(order)
        self.judges = shelf.classifier_for(order), shelf.judge_for(order.facts)
        # What a network keeps from one step for the next would be lost to another's.
        self.shares_steps = all(stage.reuse_every == 1 for stage in self.model.stages)
        self.total = len(scales) * order.count
        self.done: list[Sampled] = []
        self.trajectory: dict[str, Any] | None = None
        self.seen: Tensor | None = None
        self.begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.perf_counter() - self.begin

    def make_all(self, every: int | None, more: Mapping[str, Any]) -> None:
        """Makes all samples at every scale."""
        order = self.order
        for scale in self.scales:
            batches = sample_in_batches(
                self.model,
                range(order.count),
                seeds=range(order.seed, order.seed + order.count),
                labels=order.labels or (None,),
                batch_size=BATCH_SIZE,
                steps=order.steps,
                scale=scale,
                trajectory=every,
                on_step=self._tell,
                **{'scheduler': order.scheduler_to_give, **more},
            )
            for _, part in batches:
                self._keep(part, scale)
                self.shelf.pass_on()

    def _keep(self, made: Samples, scale: float | None) -> None:
        sure = confidences(*self.judges, made.tensor, made.labels)
        numbers = [None] * len(sure) if made.labels is None else made.labels.tolist()
        rows = zip(made.images, made.seeds, numbers, sure, strict=True)
        self.done += [Sampled(*row, scale) for row in rows]
        self.trajectory = self.trajectory or made.trajectory

    def _tell(self, step: Step) -> None:
        taken = step.index + 1
        share = (len(self.done) + len(step.sample) * taken / step.total) / self.total
        text = f'Step {taken} of {step.total}'
        if self.total > len(step.sample):
            text += f' · {len(self.done)} of {self.total} images done'
        text += f' · {self.seconds:.1f} s'
        # To decode latents for a look at them takes as long as a step.
        if isinstance(step.codec, PixelCodec) or step.index % STEPS_BETWEEN_LOOKS == 0:
            self.seen = step.images
        self.report(Progress(text, share, tuple(self.done), self.seen, self.total))
        if self.shares_steps:
            self.shelf.pass_on()


def by_class(samples: Sequence[Sampled], count: int) -> list[Sampled]:
    """Samples of a sweep with those that differ in nothing but the scale side by side."""
    return [samples[k] for i in range(count) for k in range(i, len(samples), count)]


def whole_scales(made: Made, count: int) -> Sequence[Sampled]:
    """The samples of a sweep at the scales that were finished."""
    return made.samples[: len(made.samples) // count * count]
