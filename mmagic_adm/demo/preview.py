"""Pictures as the page shows them, in the making and done."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL.Image import Image

from mmagic_adm.demo.making import Made, Progress, class_called
from mmagic_adm.files.pictures import as_pictures

# Above this a lossy preview does, and is ten times quicker to send; below, every pixel is seen.
LARGEST_LOSSLESS = 64

# Where the server has the files of its outputs, see :class:`~mmagic_adm.demo.doorkeeper`.
FILES = 'gradio_api/file='

# A picture, or two above each other, by their addresses, and what is said of them.
Pictures = list[tuple[Sequence[str], str]]


def captions_of(made: Made) -> list[list[str]]:
    """What is said of each sample of each round: seed or scale, class, and verdict."""
    order, names = made.order, made.order.facts.class_names
    captions = []
    for i, samples in enumerate(made.rounds):
        labels = [None] * order.count if samples.labels is None else samples.labels.tolist()
        captions.append(
            [
                ' · '.join(
                    [
                        f'scale {order.scales[i]:g}' if order.scales else f'seed {seed}',
                        *([] if label is None or not names else [class_called(names[label])]),
                        *([verdict] if verdict else []),
                    ]
                )
                for seed, label, verdict in zip(
                    samples.seeds, labels, made.verdicts[i], strict=True
                )
            ]
        )
    return captions


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
    shown: Pictures = [
        ([data_uri(picture)], f'image {i}, done' if i <= len(progress.done) else f'image {i}')
        for i, picture in enumerate(pictures, 1)
    ]
    missing = '<span></span>' * (progress.total - len(shown))
    return bar + _grid(''.join(_figure(*each, with_caption=False) for each in shown) + missing)


def results_html(text: str, rows: Sequence[tuple[str, Pictures]], columns: int | None) -> str:
    """A line about what was made, and the pictures.

    Args:
        text: The line.
        rows: What a row is about, if anything, and what is in it.
        columns: How many pictures stand side by side; None is as many as there is room for.
    """
    inner = ''
    for title, pictures in rows:
        inner += f'<h3>{html.escape(title)}</h3>' if title else ''
        inner += ''.join(_figure(*each) for each in pictures)
    return status_html(text) + _grid(inner, columns)


def status_html(text: str, kind: str = 'note') -> str:
    """A line about what happened: a 'note' or an 'error'."""
    role = 'alert' if kind == 'error' else 'status'
    return f'<div class="adm-status {kind}" role="{role}">{html.escape(text)}</div>'


def file_url(path: Path) -> str:
    """Where the browser finds a file of the outputs."""
    return FILES + quote(str(path.resolve()))


def data_uri(picture: Image) -> str:
    """A picture that needs no file."""
    kind = 'png' if picture.width <= LARGEST_LOSSLESS else 'jpeg'
    file = io.BytesIO()
    picture.save(file, kind)
    return f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'


def _grid(inner: str, columns: int | None = None) -> str:
    style = '' if columns is None else f' in-rows" style="--columns: {columns}'
    return f'<div class="adm-pictures{style}">{inner}</div>'


def _figure(sources: Sequence[str], text: str, with_caption: bool = True) -> str:
    said = html.escape(text, quote=True)
    images = ''.join(f'<img src="{source}" alt="{said}">' for source in sources)
    if sources[0].startswith(FILES):
        images = f'<a href="{sources[0]}" target="_blank">{images}</a>'
    caption = f'<figcaption>{said}</figcaption>' if with_caption else ''
    return f'<figure>{images}{caption}</figure>'
