"""Making the samples of an order, step by step and within view."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

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


class Progress(NamedTuple):
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


class Made(NamedTuple):
    """What came of an order.

    Attributes:
        order: What was asked for.
        total: How many samples that was.
        samples: Those that were made.
        captions: What is said of each.
        seconds: How long it took, without loading the model and waiting for it.
    """

    order: Order
    total: int
    samples: Samples
    captions: list[str]
    seconds: float


def make(shelf: Shelf, order: Order, report: Report[Progress]) -> Made:
    """Makes samples, waiting for the device if need be.

    Args:
        shelf: Where the models are.
        order: What is asked for.
        report: Told of every step; stops the work.

    Raises:
        StoppedError: It was stopped before any sample was done.
    """
    report(Progress(f'Fetching {order.model}'), may_be_left=True)
    shelf.fetch_weights(order)
    report(Progress('Waiting for the device'), may_be_left=True)
    with shelf.next_turn():
        report(Progress(f'Loading {order.model}'), may_be_left=True)
        model, judge = shelf.model_for(order), shelf.judge_for(order)
        asked = dict(order.each, steps=order.steps, trajectory=order.trajectory)
        asked |= dict(scheduler=order.scheduler, labels=asked['labels'] or [None])
        if order.hole is not None:
            asked |= order.hole.asked_of(model, order)
        total = len(asked['seeds'])
        begin, done, parts = time.perf_counter(), list[Image](), list[Samples]()
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
            for _, part in sample_in_batches(
                model, range(total), batch_size=BATCH_SIZE, on_step=tell, **asked
            ):
                parts.append(part)
                done += part.images
                shelf.pass_on()
        except StoppedError:
            if not parts:
                raise
        samples = Samples.joined(parts)
        captions = captions_of(order, samples, judge)
        return Made(order, total, samples, captions, time.perf_counter() - begin)


def captions_of(order: Order, samples: Samples, judge: Any | None = None) -> list[str]:
    """What is said of each sample: seed or scale, class, and what a judge takes it for."""
    names, count = order.facts.class_names, len(samples.seeds)
    said = [f'seed {seed}' for seed in samples.seeds]
    if order.scales:
        said = [f'scale {order.scales[i % len(order.scales)]:g}' for i in range(count)]
    if samples.labels is not None and names:
        said = [
            f'{text} · {class_called(names[label])}'
            for text, label in zip(said, samples.labels.tolist(), strict=True)
        ]
    if judge is None or not names:
        return said
    # It took no part in making them.
    logits = judge(as_uint8(samples.tensor).expand(-1, 3, -1, -1))['logits']
    sure, seen = logits.float().softmax(dim=1).max(dim=1)
    return [
        f'{text} · judge: {class_called(names[label])} {chance:.0%}'
        for text, label, chance in zip(said, seen.tolist(), sure.tolist(), strict=True)
    ]


def class_called(name: str) -> str:
    """A class in a line of text."""
    return f'class {name}' if name.isdecimal() else name
