"""The part of a tab where a run is started and stopped, watched, and its samples shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL.Image import Image

from mmagic_adm.demo.making import Progress
from mmagic_adm.demo.preview import progress_html, status_html
from mmagic_adm.demo.results import Files

Updates = dict[Any, Any]

# How many may be at work: they take turns on the device, so none of them waits for the end of
# another's run. Each has a model in memory.
AT_ONCE = 4


class Pane:
    """Buttons, a view of the work, and what came of it.

    Args:
        place: What the tab is called within the page.
        action: What the button says.
        hint: What is seen before anything is made.
    """

    def __init__(self, place: str, action: str, hint: str) -> None:
        self.place = place
        with gr.Row(elem_classes='adm-buttons'):
            self.run = gr.Button(action, variant='primary', elem_id=f'{place}-run', scale=3)
            self.stop = gr.Button('Stop', elem_id=f'{place}-stop', interactive=False, scale=1)
        self.view = gr.HTML(status_html(hint), elem_id=f'{place}-view')
        self.gallery = gr.Gallery(
            visible=False,
            show_label=False,
            interactive=False,
            object_fit='contain',
            format='png',
            buttons=['fullscreen'],
            height='auto',
            elem_id=f'{place}-gallery',
            elem_classes='adm-gallery',
        )
        with gr.Row(visible=False, elem_classes='adm-buttons') as self.downloads:
            self.npz = gr.DownloadButton('Download .npz', size='sm', elem_id=f'{place}-npz')
            self.zip = gr.DownloadButton('Download PNG (zip)', size='sm', elem_id=f'{place}-zip')
        with gr.Accordion('Copy as Python or as a command', visible=False) as self.copies:
            self.python = gr.Code(
                language='python',
                label='Python',
                show_line_numbers=False,
                interactive=False,
                buttons=['copy'],
                elem_id=f'{place}-python',
            )
            self.command = gr.Code(
                language='shell',
                label='Command',
                show_line_numbers=False,
                interactive=False,
                buttons=['copy'],
                elem_id=f'{place}-command',
            )

    @property
    def outputs(self) -> list[Any]:
        """All that a run updates."""
        files = [self.downloads, self.npz, self.zip]
        return [self.view, self.gallery, *files, self.copies, self.python, self.command]

    def on_run(
        self,
        begin: Callable[..., list[Any]],
        works: Mapping[gr.Button, Callable[..., Iterator[Updates]]],
        stop: Callable[..., Any],
        inputs: Sequence[Any],
    ) -> None:
        """Says what the buttons do.

        Args:
            begin: Called as soon as somebody wants a run, with their ``gr.Request``; gives
                :meth:`waiting`.
            works: What each button does when it is their turn, called with the request and what
                the inputs hold.
            stop: Called when they want it to end.
            inputs: The fields.
        """
        quick: dict[str, Any] = dict(queue=False, show_progress='hidden', api_visibility='private')
        for button, work in works.items():
            asked = button.click(begin, None, [self.run, self.stop, self.view], **quick)
            done = asked.then(
                work,
                list(inputs),
                self.outputs,
                preprocess=False,
                show_progress='hidden',
                concurrency_id='device',
                concurrency_limit=AT_ONCE,
                api_visibility='private',
            )
            done.then(self._settle, None, [self.run, self.stop], **quick)
        self.stop.click(stop, None, self.stop, **quick)

    def waiting(self) -> list[Any]:
        """Updates of the buttons and the view for somebody whose turn has not come."""
        return [
            gr.update(interactive=False),
            gr.update(interactive=True),
            progress_html(Progress('Waiting for your turn')),
        ]

    def progress(self, progress: Progress, columns: int | None = None) -> Updates:
        """The work as far as it has come."""
        return {**self._without_results(), self.view: progress_html(progress, columns)}

    def message(self, text: str, kind: str = 'note') -> Updates:
        """A line in place of samples."""
        return {**self._without_results(), self.view: status_html(text, kind)}

    def results(
        self,
        text: str,
        pictures: Sequence[tuple[Image, str]],
        columns: int,
        files: Files,
        python: str,
        command: str,
    ) -> Updates:
        """Samples, and all that goes with them."""
        return {
            self.view: status_html(text),
            self.gallery: gr.update(value=list(pictures), columns=columns, visible=True),
            self.downloads: gr.update(visible=True),
            self.npz: _file(files.npz),
            self.zip: _file(files.zip),
            self.copies: gr.update(visible=True),
            self.python: python,
            self.command: command,
        }

    def _without_results(self) -> Updates:
        hidden = gr.update(visible=False)
        return {self.gallery: hidden, self.downloads: hidden, self.copies: hidden}

    @staticmethod
    def _settle() -> list[Any]:
        return [gr.update(interactive=True), gr.update(interactive=False)]


def _file(path: Path) -> str:
    return str(path.resolve())
