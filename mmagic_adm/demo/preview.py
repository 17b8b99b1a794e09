"""What the page shows while samples are made, and how it shows them when they are done."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence

from PIL.Image import Image, Resampling
from PIL.Image import new as new_image

from mmagic_adm.demo.making import Progress, Sampled
from mmagic_adm.files.pictures import as_pictures

# Pictures below this are enlarged by a whole factor, with hard edges, to see every pixel.
SMALLEST_SHOWN = 256

# Above this a lossy preview does, and is ten times quicker to send.
LARGEST_LOSSLESS = 64


def enlarged(picture: Image) -> Image:
    """A picture as it is shown: each pixel of a small one as a square."""
    factor = math.ceil(SMALLEST_SHOWN / picture.width)
    if factor == 1:
        return picture
    return picture.resize((picture.width * factor, picture.height * factor), Resampling.NEAREST)


def stacked(upper: Image, lower: Image) -> Image:
    """One picture above another, with a gap through which the page is seen."""
    gap = upper.height // 32
    both = new_image('RGBA', (upper.width, upper.height + gap + lower.height))
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height + gap))
    return both


def caption(sample: Sampled, class_names: Sequence[str], with_scale: bool = False) -> str:
    """What is said of a sample: scale, seed, class, and how sure a classifier is of that."""
    words = [f'scale {sample.scale:g}'] if with_scale else [f'seed {sample.seed}']
    if sample.label is not None:
        name = class_names[sample.label]
        words.append(f'class {name}' if name.isdecimal() else name)
    if sample.confidence is not None:
        words.append(f'{sample.confidence:.0%}')
    return ' · '.join(words)


def columns_for(count: int) -> int:
    """In how many columns so many pictures look well."""
    return max(4, min(count, 6), min(8, math.ceil(math.sqrt(2 * count))))


def progress_html(progress: Progress, columns: int | None = None) -> str:
    """A bar with what is going on, and the samples as far as they have come."""
    text = html.escape(progress.text)
    bar = (
        f'<div class="adm-text">{text}</div>'
        f'<div class="adm-bar"><div style="width: {100 * progress.share:.1f}%"></div></div>'
    )
    if not progress.total:
        return bar
    pictures = [sample.picture for sample in progress.done]
    if progress.predicted is not None:
        pictures += as_pictures(progress.predicted.float().clamp(-1, 1))
    shown = [f'<img alt="" src="{_data_uri(picture)}">' for picture in pictures]
    shown += ['<span></span>'] * (progress.total - len(shown))
    columns = columns or columns_for(progress.total)
    size = 'small' if pictures[0].width <= LARGEST_LOSSLESS else 'large'
    return (
        f'{bar}<div class="adm-pictures {size}" style="--columns: {columns}">{"".join(shown)}</div>'
    )


def status_html(text: str, kind: str = 'note') -> str:
    """A line about what happened: a 'note' or an 'error'."""
    role = 'alert' if kind == 'error' else 'status'
    return f'<div class="adm-status {kind}" role="{role}">{html.escape(text)}</div>'


def _data_uri(picture: Image) -> str:
    kind = 'png' if picture.width <= LARGEST_LOSSLESS else 'jpeg'
    file = io.BytesIO()
    picture.save(file, kind)
    return f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'
