"""What the tabs do: samples, a sweep of guidance scales, a trajectory, a hole that is filled."""

from __future__ import annotations

import dataclasses
import math
import secrets
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL.Image import Image

from mmagic_adm.apis.sampling import is_out_of_memory
from mmagic_adm.demo.background import Report, StoppedError, follow
from mmagic_adm.demo.hole import NUMBERS, Hole, HolePane, read_hole
from mmagic_adm.demo.making import Made, Progress, by_class, make, whole_scales
from mmagic_adm.demo.methods import NONE
from mmagic_adm.demo.order import (
    MAX_IMAGES,
    MAX_STEPS,
    Order,
    read_order,
    read_scales,
    whole_number,
)
from mmagic_adm.demo.pane import Pane, Updates
from mmagic_adm.demo.preview import caption, columns_for, enlarged, stacked
from mmagic_adm.demo.reproduction import as_command, as_python, hole_as_command, hole_as_python
from mmagic_adm.demo.results import Outputs, write_results
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.demo.visitors import Visitors
from mmagic_adm.diffusion.randomness import MAX_SEED
from mmagic_adm.files.pictures import as_pictures

MAX_FRAMES = 60

# Steps that a stage of a cascade takes.
CASCADE_STEPS = 250

FORESEEN = (ValueError, ArithmeticError, ImportError, OSError)


class Runs:
    """What happens when somebody presses a button, from their fields to files and pictures.

    Args:
        shelf: Where the models are.
        outputs: Where each run gets a folder.
        models: Names of the models that may be asked for.
        device: The device, if it was said which; the copied code says it again.
    """

    def __init__(
        self, shelf: Shelf, outputs: Outputs, models: Collection[str], device: str | None = None
    ) -> None:
        self.shelf = shelf
        self.outputs = outputs
        self.models = models
        self.device = device
        self.visitors = Visitors()

    def samples(self, pane: Pane, visitor: str, *fields: Any) -> Iterator[Updates]:
        """Makes what is asked for."""

        def work(report: Report[Progress]) -> Updates:
            order = self._read(fields)
            made = make(self.shelf, order, report)
            return self._show_samples(pane, order, made)

        return self._followed(work, pane, visitor)

    def sweep(self, pane: Pane, visitor: str, scales: Any, *fields: Any) -> Iterator[Updates]:
        """Makes an image of each class at each guidance scale."""

        def work(report: Report[Progress]) -> Updates:
            order = self._read(_once_per_class(fields))
            if order.method == NONE:
                raise ValueError('without guidance there is nothing to sweep: choose a guidance')
            wanted = read_scales(scales, order.count)
            made = make(self.shelf, order, report, scales=wanted)
            return self._show_sweep(pane, order, made, wanted)

        return self._followed(work, pane, visitor)

    def trajectory(self, pane: Pane, visitor: str, every: Any, *fields: Any) -> Iterator[Updates]:
        """Makes one image, and keeps the steps that lead to it."""

        def work(report: Report[Progress]) -> Updates:
            order = self._read(_first_class(fields))
            kept = _read_every(every, order)
            made = make(self.shelf, order, report, every=kept)
            return self._show_trajectory(pane, order, made, kept)

        return self._followed(work, pane, visitor)

    def hole(
        self,
        pane: HolePane,
        visitor: str,
        painted: Any,
        draws: Any,
        method: Any,
        *rest: Any,
    ) -> Iterator[Updates]:
        """Fills what is painted over, several times."""
        numbers, fields = rest[:NUMBERS], rest[NUMBERS:]

        def work(report: Report[Progress]) -> Updates:
            count = whole_number(draws, 'the number of draws', 1, MAX_IMAGES)
            order = self._read(_first_class(fields, count))
            hole = read_hole(pane.painted(painted), order.facts, method, numbers)
            made = make(self.shelf, order, report, asked_of=partial(hole.asked_of, order=order))
            return self._show_hole(pane, order, made, hole)

        return self._followed(work, pane, visitor)

    def picture(self, pane: HolePane, visitor: str, *fields: Any) -> Iterator[Updates]:
        """Makes a picture to paint on, by a seed that no draw is likely to have."""

        def work(report: Report[Progress]) -> Updates:
            order = self._read(_first_class(fields[len(pane.fields) :]))
            order = dataclasses.replace(order, seed=secrets.randbelow(MAX_SEED))
            return pane.show(enlarged(make(self.shelf, order, report).samples[0].picture))

        return self._followed(work, pane, visitor)

    def _read(self, fields: Sequence[Any]) -> Order:
        # A config is Python, and a path would run any that is on this machine.
        if fields[0] not in self.models:
            raise ValueError('there is no such model here: choose another')
        return read_order(*fields)

    def _followed(
        self, work: Callable[[Report[Progress]], Updates], pane: Pane, visitor: str
    ) -> Iterator[Updates]:
        """Updates of the page while the work goes on; an error becomes a line on the page."""
        stop = self.visitors.stop_of(visitor, pane.place)
        try:
            for news in follow(work, stop):
                yield pane.progress(news) if isinstance(news, Progress) else news
        except StoppedError:
            yield pane.message('Stopped before an image was done.')
        except Exception as error:
            yield pane.message(_explained(error), 'error')

    def _show_samples(self, pane: Pane, order: Order, made: Made) -> Updates:
        order = dataclasses.replace(order, count=len(made.samples))
        files = write_results(self.outputs, order, made, made.samples)
        names = order.facts.class_names
        return pane.results(
            _summary(made, files.folder),
            [(enlarged(each.picture), caption(each, names)) for each in made.samples],
            columns_for(order.count),
            files,
            as_python(order, self.device),
            as_command(order, _copy_folder(files.folder), self.device),
        )

    def _show_sweep(self, pane: Pane, order: Order, made: Made, scales: Sequence[float]) -> Updates:
        samples = whole_scales(made, order.count)
        if not samples:
            raise StoppedError
        scales = scales[: len(samples) // order.count]
        files = write_results(self.outputs, order, made, samples, scales=scales)
        names = order.facts.class_names
        return pane.results(
            _summary(made, files.folder),
            [
                (enlarged(each.picture), caption(each, names, with_scale=True))
                for each in by_class(samples, order.count)
            ],
            len(scales),
            files,
            as_python(order, self.device, scales=scales),
            as_command(order, _copy_folder(files.folder), self.device, scales=scales),
        )

    def _show_hole(self, pane: Pane, order: Order, made: Made, hole: Hole) -> Updates:
        order = dataclasses.replace(order, count=len(made.samples))
        filled = dict(method=hole.method, arguments=hole.arguments)
        files = write_results(self.outputs, order, made, made.samples, hole=filled)
        names = order.facts.class_names
        draws = [(enlarged(each.picture), caption(each, names)) for each in made.samples]
        code = order, hole, hole.save(files.folder)
        return pane.results(
            _summary(made, files.folder),
            [(enlarged(hole.damaged), 'what is known'), *draws],
            columns_for(order.count + 1),
            files,
            hole_as_python(*code, self.device),
            hole_as_command(*code, _copy_folder(files.folder), self.device),
        )

    def _show_trajectory(self, pane: Pane, order: Order, made: Made, every: int) -> Updates:
        assert made.trajectory is not None
        files = write_results(self.outputs, order, made, made.samples, every=every)
        what = caption(made.samples[0], order.facts.class_names)
        frames = trajectory_frames(made.trajectory)
        return pane.results(
            f'{what} · above x_t, below the predicted x_0 · {_summary(made, files.folder)}',
            frames,
            min(len(frames), 10),
            files,
            as_python(order, self.device, every=every),
            as_command(order, _copy_folder(files.folder), self.device, every=every),
        )


def trajectory_frames(trajectory: dict[str, Any]) -> list[tuple[Image, str]]:
    """The kept steps of one sample: x_t above the predicted x_0, and at which timestep."""
    rows = [as_pictures(trajectory[name][:, 0].clamp(-1, 1)) for name in ('x_t', 'pred_x0')]
    return [
        (stacked(enlarged(noisy), enlarged(predicted)), f't = {t:g}')
        for noisy, predicted, t in zip(*rows, trajectory['timesteps'], strict=True)
    ]


def _once_per_class(fields: Sequence[Any]) -> list[Any]:
    model, classes, _, *others = fields
    return [model, classes, 1, *others]


def _first_class(fields: Sequence[Any], count: int = 1) -> list[Any]:
    model, classes, _, *others = fields
    return [model, classes[:1] if isinstance(classes, list) else classes, count, *others]


def _read_every(value: Any, order: Order) -> int:
    every = whole_number(value, 'the step to keep', 1, MAX_STEPS)
    facts = order.facts
    steps = order.steps or facts.steps or (CASCADE_STEPS if facts.is_cascade else MAX_STEPS)
    if isinstance(steps, int) and steps > every * MAX_FRAMES:
        raise ValueError(
            f'every {every} of {steps} steps makes {math.ceil(steps / every)} pictures, and up to '
            f'{MAX_FRAMES} are shown: keep every {math.ceil(steps / MAX_FRAMES)} or fewer'
        )
    return every


def _summary(made: Made, folder: Path) -> str:
    count = len(made.samples)
    images = 'image' if made.total == 1 else 'images'
    if made.is_whole:
        return f'{count} {images} in {made.seconds:.1f} s, in {folder}'
    return f'Stopped with {count} of {made.total} {images} done, in {folder}'


def _copy_folder(folder: Path) -> str:
    """Where a copied command writes to: not where the demo did."""
    return f'outputs/{folder.name}'


def _explained(error: Exception) -> str:
    """What went wrong, in one line; what was not foreseen is shown to whoever runs the server."""
    said = ' '.join(str(error).split())
    if isinstance(error, RuntimeError) and is_out_of_memory(error):
        return 'There is not enough memory for this: ask for fewer images, or a smaller model.'
    if said and isinstance(error, FORESEEN):
        return said[0].upper() + said[1:]
    traceback.print_exception(error, file=sys.stderr)
    return f'{type(error).__name__}: {said}'
