"""The tabs: what each asks for beside the fields, and how it shows what was made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import gradio as gr

from mmagic_adm.demo.catalogue import facts_of
from mmagic_adm.demo.fields import QUICK
from mmagic_adm.demo.making import Made, Progress
from mmagic_adm.demo.methods import NONE
from mmagic_adm.demo.order import (
    LONGEST_TEXT,
    MAX_STEPS,
    Order,
    read_order,
    read_scales,
    whole_number,
)
from mmagic_adm.demo.preview import (
    Pictures,
    captions_of,
    data_uri,
    file_url,
    progress_html,
    results_html,
    status_html,
)
from mmagic_adm.demo.results import Files
from mmagic_adm.files.pictures import as_pictures

Updates = dict[Any, Any]

# What a sweep shows: few pictures, which differ.
SCALES, SWEPT_CLASSES = '0, 1, 4', 3

# Steps that a trajectory shows where nobody says otherwise, about; and pictures at most.
FRAMES, MAX_FRAMES = 8, 120
UNKNOWN_STEPS = 250


class Tab:
    """Buttons, a view of the work, and what came of it.

    Attributes:
        place: What it is called within the page.
        title: What it is called on it.
        action: What its button says.
        hint: What is seen before anything is made.
    """

    place: ClassVar[str] = 'samples'
    title: ClassVar[str] = 'Samples'
    action: ClassVar[str] = 'Sample'
    hint: ClassVar[str] = 'Images appear here as they are made.'

    def __init__(self, model: gr.Dropdown) -> None:
        with gr.Tab(self.title, id=self.place):
            self.model = model
            self.own = self.lay_out()
            with gr.Row(elem_classes='adm-run'):
                self.run = gr.Button(
                    self.action, variant='primary', elem_id=f'{self.place}-run', scale=3
                )
                self.stop = gr.Button(
                    'Stop', elem_id=f'{self.place}-stop', interactive=False, scale=1
                )
            self.view = gr.HTML(status_html(self.hint), elem_id=f'{self.place}-view')
            with gr.Row(visible=False, elem_classes='adm-buttons') as self.downloads:
                self.npz, self.zip = (
                    gr.DownloadButton(f'Download {what}', size='sm', elem_id=f'{self.place}-{kind}')
                    for kind, what in (('npz', '.npz'), ('zip', 'PNG (zip)'))
                )
            with gr.Accordion('Copy as Python or as a command', visible=False) as self.copies:
                self.python, self.command = (
                    gr.Code(
                        language=language,  # type: ignore[arg-type]
                        label=what.capitalize(),
                        show_line_numbers=False,
                        interactive=False,
                        buttons=['copy'],
                        elem_id=f'{self.place}-{what}',
                    )
                    for what, language in (('python', 'python'), ('command', 'shell'))
                )

    def lay_out(self) -> list[Any]:
        """Fields of its own, in the order in which :meth:`read` takes them."""
        return []

    def read(self, own: Sequence[Any], fields: Sequence[Any]) -> Order:
        """What is asked for."""
        return read_order(*fields)

    def rows(self, made: Made, files: Files) -> tuple[list[tuple[str, Pictures]], int | None]:
        """What is shown in rows, each with a title if it needs one, and in how many columns."""
        (captions,) = captions_of(made)
        sources = [[file_url(path)] for path in files.pictures]
        return [('', [*self.before(made), *zip(sources, captions, strict=True)])], None

    def before(self, made: Made) -> Pictures:
        """What is shown before the samples."""
        return []

    @property
    def outputs(self) -> list[Any]:
        """All that a run updates."""
        files = [self.downloads, self.npz, self.zip]
        return [self.view, *files, self.copies, self.python, self.command]

    def waiting(self) -> list[Any]:
        """Updates of the buttons and the view for somebody whose turn has not come."""
        return [
            gr.update(interactive=False),
            gr.update(interactive=True),
            progress_html(Progress('Waiting for your turn')),
        ]

    def progress(self, progress: Progress) -> Updates:
        """The work as far as it has come."""
        return {**self._without_results(), self.view: progress_html(progress)}

    def message(self, text: str, kind: str = 'note') -> Updates:
        """A line in place of samples."""
        return {**self._without_results(), self.view: status_html(text, kind)}

    def results(self, made: Made, files: Files, python: str, command: str) -> Updates:
        """Samples, and all that goes with them."""
        images, where = 'image' if made.total == 1 else 'images', f'in {files.folder}'
        text = f'{made.count} {images} in {made.seconds:.1f} s, {where}'
        if made.count < made.total:
            text = f'Stopped with {made.count} of {made.total} {images} done, {where}'
        return {
            self.view: results_html(text, *self.rows(made, files)),
            self.downloads: gr.update(visible=True),
            self.npz: str(files.npz.resolve()),
            self.zip: str(files.zip.resolve()),
            self.copies: gr.update(visible=True),
            self.python: python,
            self.command: command,
        }

    def _without_results(self) -> Updates:
        return {each: gr.update(visible=False) for each in (self.downloads, self.copies)}


class SweepTab(Tab):
    """The same samples at several scales of guidance."""

    place, title, action = 'sweep', 'Sweep', 'Sweep'
    hint = 'A row for each class, from weak to strong.'

    def lay_out(self) -> list[Any]:
        """The scales."""
        return [
            gr.Textbox(
                SCALES,
                label='Scales',
                info=f'An image of each of the first {SWEPT_CLASSES} classes at every scale, from '
                'the same seed.',
                max_lines=1,
                max_length=LONGEST_TEXT,
                elem_id='sweep-scales',
            )
        ]

    def read(self, own: Sequence[Any], fields: Sequence[Any]) -> Order:
        """An image of each of the first classes at each scale."""
        fields = first_classes(fields, SWEPT_CLASSES, 1)
        order = read_order(*fields)
        if order.method == NONE:
            raise ValueError('without guidance there is nothing to sweep: choose a guidance')
        return read_order(*fields, scales=read_scales(own[0], order.count))

    def rows(self, made: Made, files: Files) -> tuple[list[tuple[str, Pictures]], int | None]:
        """Those that differ in nothing but the scale side by side."""
        captions, count = captions_of(made), made.order.count
        shown: Pictures = [
            ([file_url(files.pictures[k * count + i])], captions[k][i])
            for i in range(count)
            for k in range(len(captions))
        ]
        return [('', shown)], len(captions)


class TrajectoryTab(Tab):
    """The ways from noise to the images."""

    place, title, action = 'trajectory', 'Trajectory', 'Show'
    hint = 'A row for each image: above what the network sees, below what it believes in.'

    def lay_out(self) -> list[Any]:
        """Which steps to keep."""
        every = gr.Number(
            usual_every(self.model.value),
            label='Keep every k-th step',
            elem_id='trajectory-every',
        )
        self.model.input(usual_every, self.model, every, **QUICK)
        return [every]

    def read(self, own: Sequence[Any], fields: Sequence[Any]) -> Order:
        """The samples, with their ways."""
        every = whole_number(own[0], 'the step to keep', 1, MAX_STEPS)
        order = read_order(*fields, every=every)
        steps = order.steps or order.facts.steps or UNKNOWN_STEPS
        frames = order.count * math.ceil((steps if isinstance(steps, int) else 1) / every)
        if frames > MAX_FRAMES:
            raise ValueError(
                f'every {every} of {steps} steps of {order.count} images makes {frames} pictures, '
                f'and up to {MAX_FRAMES} are shown: keep fewer steps, or make fewer images'
            )
        return order

    def rows(self, made: Made, files: Files) -> tuple[list[tuple[str, Pictures]], int | None]:
        """The kept steps of each sample: x_t above the predicted x_0, and at which timestep."""
        (samples,), (captions,) = made.rounds, captions_of(made)
        way = samples.trajectory
        assert way is not None
        rows = []
        for i, caption in enumerate(captions):
            x_t, x_0 = (as_pictures(way[name][:, i].clamp(-1, 1)) for name in ('x_t', 'pred_x0'))
            frames: Pictures = [
                ([data_uri(noisy), data_uri(predicted)], f't = {t:.4g}')
                for noisy, predicted, t in zip(x_t, x_0, way['timesteps'], strict=True)
            ]
            rows.append((caption, frames))
        return rows, len(way['timesteps'])


def usual_every(model: str) -> int:
    """Every how many steps a trajectory shows of a model, where nobody says otherwise."""
    steps = facts_of(model).steps
    return math.ceil((steps if isinstance(steps, int) else UNKNOWN_STEPS) / FRAMES)


def first_classes(fields: Sequence[Any], classes: int, each: int) -> list[Any]:
    """The fields with so many images of the first so many classes."""
    model, weights, chosen, _, *others = fields
    kept = chosen[:classes] if isinstance(chosen, list) else chosen
    return [model, weights, kept, each, *others]
