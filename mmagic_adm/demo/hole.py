"""The tab where somebody paints a hole into a picture, and what that asks of a model."""

from __future__ import annotations

import dataclasses
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
from mmagic_adm.demo.entries import MAX_IMAGES, read_numbers, read_whole
from mmagic_adm.demo.fields import QUICK, sliders
from mmagic_adm.demo.making import Made
from mmagic_adm.demo.order import Order, read_order
from mmagic_adm.demo.tabs import Pictures, Tab, Updates, first_classes
from mmagic_adm.files.given_images import given_images
from mmagic_adm.files.pictures import as_pixels, opened, read_picture, write_picture
from mmagic_adm.measurements import METHODS, Inpainting, Measurement, build_method
from mmagic_adm.models import AblatedDiffusionModel

DRAWS = 4
BRUSH = 24
MOST_PIXELS = 1 << 25
PAINT, GREY = '#d946ef', 'grey'
CANVAS = 480
SMALLEST_PAINTED = 256

# Sliders for numbers of a method; none has more of them.
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

    def asked_of(self, model: AblatedDiffusionModel, order: Order) -> dict[str, Any]:
        """What ``sample_in_batches`` is told besides, so that an order's samples fill it."""
        operator = Inpainting(model.sample_shape, torch.from_numpy(np.array(self.mask) > 0))
        known = Measurement(given_images(self.picture, 'the picture', mode_of(model)), operator)
        known.check(model.sample_shape)
        method = build_method(self.method, **self.arguments)
        return dict(
            restoration=method,
            rows=dict(measurement=known[torch.zeros(order.count, dtype=torch.long)]),
            scheduler=order.scheduler or scheduler_for(method, model),
        )

    def save(self, folder: Path) -> None:
        """Writes picture, mask, and what is known of the picture, into a folder."""
        known = Image.composite(self.picture, Image.new('RGB', self.picture.size, GREY), self.mask)
        for name, picture in dict(picture=self.picture, mask=self.mask, known=known).items():
            write_picture(folder / f'{name}.png', picture)


class HoleTab(Tab):
    """A canvas, and below it the method that fills its hole."""

    place, title, action = 'hole', 'Fill', 'Fill'
    hint = 'Paint over a part of the picture. It is filled as the first class.'

    def __init__(self) -> None:
        super().__init__()
        self.outputs.append(self.editor)

    def lay_out(self) -> list[Any]:
        """The canvas, the number of draws, and the method with its numbers."""
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
            elem_id='hole-editor',
        )
        first = next(iter(METHODS))
        with gr.Row(elem_classes='adm-buttons'):
            self.example = gr.Button('Draw a picture', elem_id='hole-example', min_width=100)
            method = gr.Dropdown(
                list(METHODS), value=first, label='Method', min_width=100, elem_id='hole-method'
            )
            draws = gr.Number(DRAWS, label='Draws', min_width=100, elem_id='hole-draws')
        numbers = [
            gr.Slider(elem_id=f'hole-number-{i}', **slider)
            for i, slider in enumerate(sliders(METHODS[first].arguments, NUMBERS))
        ]
        method.input(
            lambda name: [gr.update(**each) for each in sliders(METHODS[name].arguments, NUMBERS)],
            method,
            numbers,
            **QUICK,
        )
        return [self.editor, draws, method, *numbers]

    def read(self, own: Sequence[Any], fields: Sequence[Any]) -> Order:
        """So many draws of the first class."""
        painted, draws, method, *numbers = own
        count = read_whole(draws, 'the number of draws', 1, MAX_IMAGES)
        order = read_order(*first_classes(fields, 1, count))
        if order.facts.is_cascade:
            raise ValueError('a model in stages fills no holes: choose one without')
        if method not in METHODS:
            raise ValueError(f'there is no such method here; there are {", ".join(METHODS)}')
        usual = {each.name: each.default for each in METHODS[method].arguments}
        asked = read_numbers(METHODS[method].arguments, numbers)
        arguments = {name: value for name, value in asked.items() if value != usual[name]}
        hole = Hole(*_painted(painted, order.facts.image_size), method, arguments)
        return dataclasses.replace(order, hole=hole)

    def pictures(self, made: Made, folder: Path) -> tuple[Pictures, str]:
        """What is known of the picture, and what it was made."""
        shown, columns = super().pictures(made, folder)
        return [(folder / 'known.png', 'what is known'), *shown], columns

    def show(self, picture: Image.Image) -> Updates:
        """A picture to paint on."""
        text = 'Paint over what is to be filled, and press Fill.'
        # Each pixel of a small one as a square: the brush is larger than they are.
        factor = math.ceil(SMALLEST_PAINTED / picture.width)
        size = picture.width * factor, picture.height * factor
        large = picture.convert('RGB').resize(size, Image.Resampling.NEAREST)
        return {**self.message(text), self.editor: large}


def _painted(entry: Any, size: int) -> tuple[Image.Image, Image.Image]:
    """Picture and mask of a size, from what the browser sent of the canvas."""
    if not entry or not (held := EditorData(**entry)).background:
        raise ValueError('there is no picture yet: drop one on the canvas, or draw one')
    background = _sent(held.background)
    picture = Image.alpha_composite(Image.new('RGBA', background.size, 'white'), background)
    paint = Image.new('L', picture.size)
    for layer in map(_sent, held.layers):
        paint.paste(255, mask=layer.getchannel('A').resize(picture.size))
    hole = _square(paint, size)[..., 0] > 127
    if not hole.any():
        raise ValueError('nothing is painted over: paint over what is to be filled')
    if hole.all():
        raise ValueError('all is painted over, and nothing is left to go by: make samples instead')
    mask = Image.fromarray(np.where(hole, 0, 255).astype(np.uint8))
    return Image.fromarray(_square(picture, size)), mask


def _sent(file: FileData) -> Image.Image:
    with opened(file.path, 'the picture') as picture:
        pixels = math.prod(picture.size)
    if pixels > MOST_PIXELS:
        raise ValueError(f'the picture has {pixels:,} pixels, of up to {MOST_PIXELS:,}: shrink it')
    return read_picture(file.path).convert('RGBA')


def _square(picture: Image.Image, size: int) -> Any:
    """The middle of a picture in the size of the model's images, as training crops it."""
    pixels = as_pixels(picture, 'L' if picture.mode == 'L' else 'RGB')
    return CenterSquare(size)(dict(img=pixels))['img']
