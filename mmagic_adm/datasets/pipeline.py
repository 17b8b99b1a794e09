"""Where a pipeline begins and ends: an image file is read, and handed to the model."""

import io
import logging
import os
from typing import Any, Literal

import numpy as np
import torch
from mmagic.structures import DataSample
from mmengine.logging import print_log
from PIL import Image

from mmagic_adm.registry import TRANSFORMS

Mode = Literal['RGB', 'L']

# What PIL raises over a damaged file, or over one that is no image.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class UnreadableImageError(ValueError):
    """An image file is damaged, or is no image."""


@TRANSFORMS.register_module()
class ReadImage:
    """Reads the image file ``gt_path``, or the one whose bytes are in ``encoded``.

    Images of another mode are converted; the first of each mode is reported.

    Args:
        mode: 'RGB', or 'L' for grey.
    """

    def __init__(self, mode: Mode = 'RGB') -> None:
        self.mode: Mode = mode
        self._reported: set[str] = set()

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, (H, W, C) uint8."""
        name = results['gt_path']
        source = io.BytesIO(results['encoded']) if 'encoded' in results else name
        if not isinstance(source, io.BytesIO) and not os.path.exists(source):
            raise UnreadableImageError(f'{name} does not exist')
        try:
            with Image.open(source) as image:
                image.load()
                converted = _convert(image, self.mode)
        except DAMAGE as error:
            raise UnreadableImageError(f'{name} is no readable image: {error}') from error
        if image.mode != self.mode:
            self._report(name, image)
        return {**results, 'img': np.atleast_3d(np.asarray(converted))}

    def _report(self, name: str, image: Image.Image) -> None:
        kind = image.mode + (' with transparency' if image.has_transparency_data else '')
        if kind not in self._reported:
            self._reported.add(kind)
            loss = ', its transparency lost' if image.has_transparency_data else ''
            print_log(
                f'{name} is of mode {image.mode}: converted to {self.mode}{loss}; others like it '
                'will be, without a word',
                'current',
                logging.WARNING,
            )


def _convert(image: Image.Image, mode: Mode) -> Image.Image:
    if image.mode.startswith('I;16'):
        # PIL would cut 16 bits off at 255 instead of scaling them.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.mode in ('I', 'F'):
        raise ValueError(f'pixels of mode {image.mode} have no known range; store 8 or 16 bits')
    return image.convert(mode)


@TRANSFORMS.register_module()
class PackTrainingImage:
    """Turns ``img``, (H, W, C) uint8, and ``gt_label`` into what the models take.

    Gives ``inputs``, a (C, H, W) uint8 tensor, and ``data_samples``, which carries the label if
    there is one.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs one image."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = DataSample()
        if results.get('gt_label') is not None:
            sample.set_gt_label(int(results['gt_label']))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
