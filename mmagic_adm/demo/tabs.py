"""The tabs: what each asks for beside the fields, and how it shows what was made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from mmagic_adm.demo.entries import LONGEST_TEXT, read_whole
from mmagic_adm.demo.making import Made, Progress
from mmagic_adm.demo.order import MAX_STEPS, Order, read_order
from mmagic_adm.demo.outputs import NPZ, ZIP
from mmagic_adm.demo.preview import progress_html, results_html, status_html

Updates = dict[Any, Any]
Pictures = list[tuple[Path, str]]

# What a sweep shows: few pictures, which differ.
SCALES, SWEPT_CLASSES = '0, 1, 4', 3

# Steps that a trajectory shows where nobody says otherwise, about; and of all images at most.
FRAMES, MAX_FRAMES = 8, 120
UNKNOWN_STEPS = 250
# Smooth, as there is text in them.
STRIPS = 'repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); image-rendering: auto'


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

    def __init__(self) -> None:
        with gr.Tab(self.title, id=self.place):
            # What ends the work that a visitor has running here.
            self.running = gr.State()
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
                        wrap_lines=True,
                        interactive=False,
                        buttons=['copy'],
                        elem_id=f'{self.place}-{what}',
                    )
                    for what, language in (('python', 'python'), ('command', 'shell'))
                )
        files = [self.downloads, self.npz, self.zip]
        self.outputs: list[Any] = [self.view, *files, self.copies, self.python, self.command]

    def lay_out(self) -> list[Any]:
        """Fields of its own, in the order in which :meth:`read` takes them."""
        return []

    def read(self, own: Sequence[Any], fields: Sequence[Any]) -> Order:
        """What is asked for."""
        return read_order(*fields)

    def pictures(self, made: Made, folder: Path) -> tuple[Pictures, str]:
        """What is shown of a run's files, and in which columns."""
        return [(folder / f'{i:06d}.png', said) for i, said in enumerate(made.captions)], ''

    def progress(self, progress: Progress) -> Updates:
        """The work as far as it has come."""
        return self._without_results(progress_html(progress))

    def message(self, text: str, kind: str = 'note') -> Updates:
        """A line in place of samples."""
        return self._without_results(status_html(text, kind))

    def results(self, made: Made, folder: Path, python: str, command: str) -> Updates:
        """Samples, and all that goes with them."""
        count, images = len(made.captions), 'image' if made.total == 1 else 'images'
        text = f'{count} {images} in {made.seconds:.1f} s'
        if count < made.total:
            text = f'Stopped with {count} of {made.total} {images} done'
        return {
            self.view: results_html(f'{text}, in {folder}', *self.pictures(made, folder)),
            self.downloads: gr.update(visible=True),
            self.npz: str((folder / NPZ).resolve()),
            self.zip: str((folder / ZIP).resolve()),
            self.copies: gr.update(visible=True),
            self.python: python,
            self.command: command,
        }

    def _without_results(self, shown: str) -> Updates:
        gone = gr.update(visible=False)
        return {self.view: shown, self.downloads: gone, self.copies: gone}


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
        return read_order(*first_classes(fields, SWEPT_CLASSES, 1), scales=own[0] or '')

    def pictures(self, made: Made, folder: Path) -> tuple[Pictures, str]:
        """Those that differ in nothing but the scale side by side."""
        columns = f'repeat({len(made.order.scales)}, minmax(4.5rem, 9rem))'
        return super().pictures(made, folder)[0], columns


class TrajectoryTab(Tab):
    """The ways from noise to the images."""

    place, title, action = 'trajectory', 'Trajectory', 'Show'
    hint = 'A strip for each image: above what the network sees, below what it believes in.'

    def lay_out(self) -> list[Any]:
        """Which steps to keep."""
        return [
            gr.Textbox(
                label='Keep every k-th step',
                placeholder=f'about {FRAMES} of each image',
                max_lines=1,
                max_length=LONGEST_TEXT,
                elem_id='trajectory-every',
            )
        ]

    def read(self, own: Sequence[Any], fields: Sequence[Any]) -> Order:
        """The samples, with their ways."""
        order = read_order(*fields)
        steps = order.steps or order.facts.steps
        steps = steps if isinstance(steps, int) else UNKNOWN_STEPS
        usual = math.ceil(steps / FRAMES)
        every = read_whole(own[0] or usual, 'the step to keep', 1, MAX_STEPS)
        frames = order.count * math.ceil(steps / every)
        if frames > MAX_FRAMES:
            raise ValueError(
                f'every {every} of {steps} steps of {order.count} images makes {frames} pictures, '
                f'and up to {MAX_FRAMES} are shown: keep fewer steps, or make fewer images'
            )
        return dataclasses.replace(order, trajectory=every)

    def pictures(self, made: Made, folder: Path) -> tuple[Pictures, str]:
        """The kept steps of each: x_t above the predicted x_0, and how noisy it is."""
        strips = enumerate(made.captions)
        return [(folder / f'{i:06d}_trajectory.png', said) for i, said in strips], STRIPS


def first_classes(fields: Sequence[Any], classes: int, each: int) -> list[Any]:
    """The fields with so many images of the first so many classes."""
    model, weights, chosen, _, *others = fields
    kept = chosen[:classes] if isinstance(chosen, list) else chosen
    return [model, weights, kept, each, *others]
