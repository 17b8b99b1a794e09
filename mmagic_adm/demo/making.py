"""Making the samples of an order, step by step and within view."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL.Image import Image
from torch import Tensor

from mmagic_adm.apis.samples import Samples
from mmagic_adm.apis.sampling import sample_in_batches
from mmagic_adm.codecs import PixelCodec
from mmagic_adm.demo.background import Report, StoppedError
from mmagic_adm.demo.order import Order
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.files.pictures import as_uint8
from mmagic_adm.models.sampling import Step

# As `sample` and mmagic-adm sample have it, so that they give the same to the last bit.
BATCH_SIZE = 8
STEPS_BETWEEN_LOOKS = 10


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
    done: Sequence[Image] = ()
    predicted: Tensor | None = None
    total: int = 0


@dataclass(frozen=True)
class Made:
    """What came of an order.

    Attributes:
        order: What was asked for, as far as it was made.
        rounds: The samples: for each scale of a sweep, or once.
        verdicts: What a judge takes each for, in the same rounds; '' where there is none.
        total: How many samples were asked for.
        seconds: How long it took, without loading the model and waiting for it.
    """

    order: Order
    rounds: Sequence[Samples]
    verdicts: Sequence[Sequence[str]]
    total: int
    seconds: float

    @property
    def count(self) -> int:
        """How many samples there are."""
        return self.order.count * len(self.rounds)


def make(shelf: Shelf, order: Order, report: Report[Progress]) -> Made:
    """Makes samples, waiting for the device if need be.

    Args:
        shelf: Where the models are.
        order: What is asked for.
        report: Told of every step; stops the work.

    Raises:
        StoppedError: It was stopped before any sample was done, or any scale of a sweep.
    """
    report(Progress(f'Fetching {order.model}'), may_be_left=True)
    shelf.fetch_weights(order)
    report(Progress('Waiting for the device'), may_be_left=True)
    with shelf.next_turn():
        report(Progress(f'Loading {order.model}'), may_be_left=True)
        model, judge = shelf.model_for(order), shelf.judge_for(order)
        more: dict[str, Any] = order.hole.asked_of(model, order) if order.hole else {}
        total = order.count * max(1, len(order.scales))
        begin, done, rounds = time.perf_counter(), list[Image](), list[list[Samples]]()
        # What a network keeps from one step for the next would be lost to another's.
        shares_steps = all(stage.reuse_every == 1 for stage in model.stages)
        seen: Tensor | None = None

        def tell(step: Step) -> None:
            nonlocal seen
            taken = step.index + 1
            share = (len(done) + len(step.sample) * taken / step.total) / total
            text = f'Step {taken} of {step.total}'
            if total > len(step.sample):
                text += f' · {len(done)} of {total} images done'
            text += f' · {time.perf_counter() - begin:.1f} s'
            # To decode latents for a look at them takes as long as a step.
            if isinstance(step.codec, PixelCodec) or step.index % STEPS_BETWEEN_LOOKS == 0:
                seen = step.images
            report(Progress(text, share, tuple(done), seen, total))
            if shares_steps:
                shelf.pass_on()

        try:
            for scale in order.scales or [order.scale_to_give]:
                rounds.append([])
                for _, part in sample_in_batches(
                    model,
                    range(order.count),
                    seeds=range(order.seed, order.seed + order.count),
                    labels=order.labels or (None,),
                    batch_size=BATCH_SIZE,
                    steps=order.steps,
                    scale=scale,
                    trajectory=order.every,
                    on_step=tell,
                    **{'scheduler': order.scheduler_to_give, **more},
                ):
                    rounds[-1].append(part)
                    done += part.images
                    shelf.pass_on()
        except StoppedError:
            of_scale = sum(len(part.seeds) for part in rounds[-1])
            if not of_scale or (order.scales and of_scale < order.count):
                rounds.pop()
            if not rounds:
                raise
        samples = [Samples.joined(parts) for parts in rounds]
        made = replace(order, count=len(samples[0].seeds), scales=order.scales[: len(samples)])
        names = order.facts.class_names
        verdicts = [verdicts_of(judge, each.tensor, names) for each in samples]
        return Made(made, samples, verdicts, total, time.perf_counter() - begin)


def verdicts_of(judge: Any | None, images: Tensor, class_names: Sequence[str]) -> list[str]:
    """What a judge that took no part in making images takes each for, and how sure it is.

    Args:
        judge: Features with 'logits'; None says nothing.
        images: (N, C, H, W) in [-1, 1].
        class_names: What its classes are called.
    """
    if judge is None or not class_names:
        return [''] * len(images)
    logits = judge(as_uint8(images).expand(-1, 3, -1, -1))['logits']
    sure, seen = logits.float().softmax(dim=1).max(dim=1)
    return [
        f'judge: {class_called(class_names[label])} {chance:.0%}'
        for label, chance in zip(seen.tolist(), sure.tolist(), strict=True)
    ]


def class_called(name: str) -> str:
    """A class in a line of text."""
    return f'class {name}' if name.isdecimal() else name
