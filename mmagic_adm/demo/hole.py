"""The tab where somebody paints a hole into a picture, and what that asks of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from gradio.components.image_editor import EditorData
from gradio.data_classes import FileData
from PIL import Image

from mmagic_adm.apis.editing import mode_of
from mmagic_adm.apis.restoring import scheduler_for
from mmagic_adm.datasets.transforms import CenterSquare
from mmagic_adm.demo.catalogue import ModelFacts
from mmagic_adm.demo.order import Order, finite_number, whole_number
from mmagic_adm.demo.pane import Pane
from mmagic_adm.files.given_images import given_images
from mmagic_adm.files.pictures import as_pixels, opened, read_picture, write_picture
from mmagic_adm.measurements import METHODS, Argument, Inpainting, Measurement, build_method
from mmagic_adm.models import AblatedDiffusionModel

DRAWS = 4
BRUSH = 24
MOST_PIXELS = 1 << 25
PAINT, GREY = '#d946ef', 128
CANVAS = 480

# Fields for numbers of a method; none has more of them.
NUMBERS = max(len(method.arguments) for method in METHODS.values())


@dataclass(frozen=True)
class Hole:
    """A picture of which a part is to be invented.

    Attributes:
        picture: The picture, of the model's size.
        mask: White where it is seen, black where the hole is.
        method: Name of the method that fills it.
        arguments: Those of the method that differ from what they are by themselves.
    """

    picture: Image.Image
    mask: Image.Image
    method: str
    arguments: Mapping[str, float]

    @property
    def damaged(self) -> Image.Image:
        """What is seen of the picture."""
        return Image.composite(
            self.picture, Image.new('RGB', self.picture.size, (GREY,) * 3), self.mask
        )

    def asked_of(self, model: AblatedDiffusionModel, order: Order) -> dict[str, Any]:
        """What ``sample_in_batches`` is told, so that an order's samples fill it."""
        operator = Inpainting(model.sample_shape, torch.from_numpy(np.array(self.mask) > 0))
        known = Measurement(given_images(self.picture, 'the picture', mode_of(model)), operator)
        known.check(model.sample_shape)
        method = build_method(self.method, **self.arguments)
        return dict(
            restoration=method,
            rows=dict(measurement=known[torch.zeros(order.count, dtype=torch.long)]),
            scheduler=order.scheduler_to_give or scheduler_for(method, model),
        )

    def save(self, folder: Path) -> tuple[str, str]:
        """Writes picture and mask into a folder; gives their paths."""
        picture, mask = folder / 'picture.png', folder / 'mask.png'
        write_picture(picture, self.picture)
        write_picture(mask, self.mask)
        return str(picture), str(mask)


def read_hole(
    painted: Mapping[str, Any] | None, facts: ModelFacts, method: Any, numbers: Sequence[Any]
) -> Hole:
    """A hole from what stands in the fields of the tab.

    Args:
        painted: What the editor holds: its ``background`` and the ``layers`` above.
        facts: What is known of the model.
        method: Name of the method.
        numbers: Its numbers, in the order of its arguments.

    Raises:
        ValueError: A field makes no sense; the message names it, and the way out.
    """
    if facts.is_cascade:
        raise ValueError('a model in stages fills no holes: choose one without')
    size = facts.image_size
    if method not in METHODS:
        raise ValueError(f'there is no such method here; there are {", ".join(METHODS)}')
    named = zip(METHODS[method].arguments, numbers, strict=False)
    given = {each.name: _number(each, value) for each, value in named if value != each.default}
    build_method(method, **given)
    if painted is None:
        raise ValueError('there is no picture yet: drop one on the canvas, or draw one')
    background = painted['background']
    picture = Image.alpha_composite(Image.new('RGBA', background.size, 'white'), background)
    paint = Image.new('L', picture.size)
    for layer in painted['layers']:
        paint.paste(255, mask=layer.getchannel('A').resize(picture.size))
    hole = _square(paint, size)[..., 0] > 127
    if not hole.any():
        raise ValueError('nothing is painted over: paint over what is to be filled')
    if hole.all():
        raise ValueError('all is painted over, and nothing is left to go by: make samples instead')
    mask = Image.fromarray(np.where(hole, 0, 255).astype(np.uint8))
    return Hole(Image.fromarray(_square(picture, size)), mask, method, given)


class HolePane(Pane):
    """A canvas, and below it the method that fills its hole."""

    def __init__(self, place: str) -> None:
        self.editor = gr.ImageEditor(
            type='pil',
            format='png',
            label='Picture',
            placeholder='Drop a picture here, or draw one',
            sources=('upload', 'clipboard'),
            transforms=(),
            layers=False,
            brush=gr.Brush(BRUSH, [PAINT], color_mode='fixed'),
            height=CANVAS,
            elem_id=f'{place}-editor',
        )
        with gr.Row(elem_classes='adm-buttons'):
            self.example = gr.Button('Draw a picture', elem_id=f'{place}-example', min_width=100)
            method = next(iter(METHODS))
            self.method = gr.Dropdown(
                list(METHODS),
                value=method,
                label='Method',
                min_width=100,
                elem_id=f'{place}-method',
            )
            self.numbers = [
                gr.Number(min_width=100, elem_id=f'{place}-number-{i}', **field)
                for i, field in enumerate(_numbers_of(method))
            ]
            self.draws = gr.Number(DRAWS, label='Draws', min_width=100, elem_id=f'{place}-draws')
        super().__init__(
            place, 'Fill', 'Paint over a part of the picture. It is filled as the first class.'
        )
        self.method.input(
            lambda name: [gr.update(**field) for field in _numbers_of(name)],
            self.method,
            self.numbers,
            queue=False,
            show_progress='hidden',
            api_visibility='private',
        )

    @property
    def fields(self) -> list[Any]:
        """The fields, in the order in which a run takes them."""
        return [self.editor, self.draws, self.method, *self.numbers]

    @property
    def outputs(self) -> list[Any]:
        """All that a run updates."""
        return [*super().outputs, self.editor]

    @staticmethod
    def painted(field: Any) -> Mapping[str, Any] | None:
        """The pictures that the editor holds, from what the browser sent.

        Raises:
            ValueError: One of them is no picture, or too large.
        """
        if not field or not (held := EditorData(**field)).background:
            return None
        return dict(background=_sent(held.background), layers=[_sent(each) for each in held.layers])

    def show(self, picture: Image.Image) -> dict[Any, Any]:
        """A picture to paint on."""
        text = 'Paint over what is to be filled, and press Fill.'
        return {**self.message(text), self.editor: picture.convert('RGB')}


def _sent(file: FileData) -> Image.Image:
    with opened(file.path, 'the picture') as picture:
        pixels = math.prod(picture.size)
    if pixels > MOST_PIXELS:
        raise ValueError(f'the picture has {pixels:,} pixels, of up to {MOST_PIXELS:,}: shrink it')
    return read_picture(file.path).convert('RGBA')


def _numbers_of(method: str) -> list[dict[str, Any]]:
    """The fields for a method's numbers, as it describes them; those it has no use for are gone."""
    shown: list[dict[str, Any]] = [
        dict(label=each.name.capitalize(), info=each.says, value=each.default, visible=True)
        for each in METHODS[method].arguments
    ]
    return shown + [dict(visible=False)] * (NUMBERS - len(shown))


def _number(argument: Argument, value: Any) -> float:
    if isinstance(argument.default, int):
        return whole_number(value, argument.name, int(argument.low), int(argument.high))
    return finite_number(value, argument.name)


def _square(picture: Image.Image, size: int) -> Any:
    """The middle of a picture in the size of the model's images, as training crops it."""
    pixels = as_pixels(picture, 'L' if picture.mode == 'L' else 'RGB')
    return CenterSquare(size)(dict(img=pixels))['img']
