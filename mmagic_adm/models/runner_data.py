"""Between the runner's language and the model's: data and requests in, data samples out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmagic.structures import DataSample
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmagic_adm.files.pictures import as_images, as_uint8
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class DiffusionDataPreprocessor(BaseDataPreprocessor):
    """Moves data to the model's device; images among it become float, in [-1, 1].

    Images are (C, H, W) uint8 in a list, or stacked, or already float and in [-1, 1]. Requests
    for samples, which hold no images, pass through.

    Args:
        non_blocking: Whether the host goes on while data is copied from pinned memory.
    """

    def __init__(self, non_blocking: bool = True) -> None:
        super().__init__(non_blocking)

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


def infer_arguments(inputs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``infer`` for a request of a data loader.

    Args:
        inputs: Either ``seed`` and ``label``, a list each; or MMagic's ``num_batches``, ``noise``
            and ``sample_kwargs``, the last of which come first.
    """
    request = dict(
        batch_size=inputs.get('num_batches', 1),
        init_image=inputs.get('init_image', inputs.get('noise')),
        seeds=inputs.get('seed'),
        labels=inputs.get('label'),
    )
    return {**request, **(inputs.get('sample_kwargs') or {})}


def as_data_samples(
    result: dict[str, Any],
    inputs: dict[str, Any],
    data_samples: Sequence[DataSample] | None,
    channel_order: str,
) -> list[DataSample]:
    """What metrics and visualisers are given: a data sample for each image.

    Args:
        result: What ``infer`` returned.
        inputs: The request, whose ``index`` numbers the samples if it is there.
        data_samples: To be filled; made where there are none.
        channel_order: 'rgb' or 'bgr'.

    Returns:
        Data samples with ``fake_img``, (C, H, W) uint8; ``gt_label``, where there are classes; and
        ``seed``, ``index``, ``channel_order`` and ``sample_kwargs`` beside them.
    """
    images, seeds, labels = as_uint8(result['samples']), result['seeds'], result['labels']
    if data_samples is None:
        data_samples = [DataSample() for _ in seeds]
    indices = inputs.get('index', [None] * len(seeds))
    for i, data_sample in enumerate(data_samples):
        data_sample.fake_img = images[i]
        if labels is not None:
            data_sample.set_gt_label(labels[i])
        data_sample.set_metainfo(
            dict(
                seed=seeds[i],
                index=indices[i],
                channel_order=channel_order,
                sample_kwargs=inputs.get('sample_kwargs') or {},
            )
        )
    return list(data_samples)


def _holds_images(inputs: Any) -> bool:
    if isinstance(inputs, Tensor):
        return True
    return isinstance(inputs, (list, tuple)) and all(isinstance(x, Tensor) for x in inputs)
