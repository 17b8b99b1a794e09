"""What a tab shows, as HTML: a line, a bar, and pictures with what is said of each."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL.Image import Image

from mmagic_adm.demo.making import Progress
from mmagic_adm.files.pictures import as_pictures

# Above this a lossy preview does, and is ten times quicker to send; below, every pixel is seen.
LARGEST_LOSSLESS = 64

# Where the server has the files of its outputs, see :class:`~mmagic_adm.demo.doorkeeper`.
FILES = 'gradio_api/file='


def status_html(text: str, kind: str = 'note') -> str:
    """A line about what happened: a 'note' or an 'error'."""
    role = 'alert' if kind == 'error' else 'status'
    return f'<div class="adm-status {kind}" role="{role}">{html.escape(text)}</div>'


def progress_html(progress: Progress) -> str:
    """A bar with what is going on, and the samples as far as they have come."""
    bar = (
        f'<div class="adm-text">{html.escape(progress.text)}</div>'
        f'<div class="adm-bar"><div style="width: {100 * progress.share:.1f}%"></div></div>'
    )
    if not progress.total:
        return bar
    pictures = list(progress.done)
    if progress.predicted is not None:
        pictures += as_pictures(progress.predicted.float().clamp(-1, 1))
    shown = [
        _image(_data_uri(picture), f'image {i}' + ', done' * (i <= len(progress.done)))
        for i, picture in enumerate(pictures, 1)
    ]
    return bar + _grid([*shown, *['<span></span>'] * (progress.total - len(shown))])


def results_html(text: str, pictures: Sequence[tuple[Path, str]], columns: str) -> str:
    """A line about what was made, and the pictures.

    Args:
        text: The line.
        pictures: Files, and what is said of each.
        columns: Those that they stand in, as CSS says it; '' is as many as there is room for.
    """
    shown = []
    for file, said in pictures:
        url = FILES + quote(str(file.resolve()))
        link = f'<a href="{url}" target="_blank">{_image(url, said)}</a>'
        shown.append(f'{link}<figcaption>{html.escape(said)}</figcaption>')
    return status_html(text) + _grid(shown, columns)


def _grid(shown: Sequence[str], columns: str = '') -> str:
    style = f'" style="grid-template-columns: {columns}' if columns else ''
    figures = ''.join(f'<figure>{each}</figure>' for each in shown)
    return f'<div class="adm-pictures{style}">{figures}</div>'


def _image(source: str, said: str) -> str:
    return f'<img src="{source}" alt="{html.escape(said)}">'


def _data_uri(picture: Image) -> str:
    """A picture that needs no file."""
    kind = 'png' if picture.width <= LARGEST_LOSSLESS else 'jpeg'
    file = io.BytesIO()
    picture.save(file, kind)
    return f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'
