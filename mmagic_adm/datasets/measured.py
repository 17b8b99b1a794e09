"""Measurements of images that are known, to restore and to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmagic_adm.datasets.sample_specs import SampleSpecs
from mmagic_adm.files.pictures import Mode, as_images, as_pixels
from mmagic_adm.measurements import Measurement, build_operator, measure
from mmagic_adm.registry import DATASETS, build_part

# Sets the noise of a measurement apart from that which the sample of the same seed starts from.
ANOTHER_STREAM = 2**40


@DATASETS.register_module()
class MeasuredImages(SampleSpecs):
    """What to restore: the i-th sample is to be the i-th image, of which there is a measurement.

    Its noise, and what an operator draws, such as which pixels are missing, follow from the
    sample's seed.

    Args:
        images: Config of a dataset of uint8 images of one size, ``img``, such as ``NpzImages``.
        operator: Config of what measures them.
        sigma_y: Standard deviation of a measurement's noise, for images in [-1, 1].
        channels: Of the images that the model makes: 3, or 1 for grey ones.
        num_samples: How many to restore; None is all.
        labelled: Whether the model is told the images' labels, if they have any.
        seed: Sample i has the seed ``seed + i``.
        start: Index of the first sample.
    """

    def __init__(
        self,
        images: dict,
        operator: dict,
        sigma_y: float = 0.0,
        channels: int = 3,
        num_samples: int | None = None,
        labelled: bool = True,
        seed: int = 0,
        start: int = 0,
    ) -> None:
        self._images = build_part(DATASETS, images)
        count = len(self._images) - start
        if num_samples is not None and num_samples > count:
            raise ValueError(
                f'num_samples is {num_samples}, and from {start} on are {count} images'
            )
        self._mode: Mode = 'L' if channels == 1 else 'RGB'
        count = count if num_samples is None else num_samples
        super().__init__(count, None, seed=seed, start=start)
        self._follows_from: dict[str, Any] = dict(
            images=images, operator=operator, sigma_y=sigma_y, channels=channels, labelled=labelled
        )
        self._is_labelled = labelled and 'gt_label' in self._images.get_data_info(start)
        channels, height, width = self.truth(start).shape
        self._shape = (channels, height, width)
        self._operator = build_operator(operator, self._shape, seed=seed + start, sigma_y=sigma_y)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What metrics are told of the samples beforehand: what each is to be, among others."""
        return dict(super().metainfo, truth=self.truth)

    @property
    def made_from(self) -> Mapping[str, Any]:
        """All that sample i follows from, but for i."""
        return {**super().made_from, **self._follows_from}

    def truth(self, index: int) -> Tensor:
        """The image of a number, (C, H, W) uint8."""
        picture = Image.fromarray(np.squeeze(self._images[index]['img']))
        return torch.tensor(as_pixels(picture, self._mode)).permute(2, 0, 1)

    def __getitem__(self, position: int) -> dict[str, dict[str, Any]]:
        inputs: dict[str, Any] = super().__getitem__(position)['inputs']
        index, seed = inputs['index'], inputs['seed']
        if self._is_labelled:
            inputs['label'] = self._images.get_data_info(index)['gt_label']
        inputs['measurement'] = self._measure(index, seed)
        return dict(inputs=inputs)

    def _measure(self, index: int, seed: int) -> Measurement:
        operator, image = self._operator, as_images(self.truth(index)[None])
        if any(argument.name == 'seed' for argument in operator.arguments):
            config, sigma_y = self._follows_from['operator'], self._follows_from['sigma_y']
            operator = build_operator(config, self._shape, seed=seed, sigma_y=sigma_y)
        generator = torch.Generator().manual_seed(seed + ANOTHER_STREAM)
        return measure(image, operator, [generator])
