"""Brings data to the model's device, and images to the range the networks know."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmagic_adm.files.pictures import as_images
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class DiffusionDataPreprocessor(BaseDataPreprocessor):
    """Moves data to the model's device; images among it become float, in [-1, 1].

    Images are (C, H, W) uint8 in a list, or stacked, or already float and in [-1, 1]. Requests
    for samples, which hold no images, pass through.
    """

    def forward(self, data: dict | Sequence, training: bool = False) -> Any:
        """Prepares one batch of a data loader.

        Args:
            data: Holds ``inputs`` and, where there are labels, ``data_samples``.
            training: Whether the batch is trained on.
        """
        data = self.cast_data(data)
        if isinstance(data, dict) and _holds_images(data.get('inputs')):
            data = {**data, 'inputs': as_images(data['inputs'])}
        return data


def _holds_images(inputs: Any) -> bool:
    if isinstance(inputs, Tensor):
        return True
    return isinstance(inputs, (list, tuple)) and all(isinstance(x, Tensor) for x in inputs)
