"""Between the runner's language and the model's: data and requests in, data samples out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from mmagic.structures import DataSample
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmagic_adm.files.pictures import as_images, as_uint8
from mmagic_adm.measurements import Measurement
from mmagic_adm.registry import MODELS

DataSamples: TypeAlias = Sequence[DataSample] | DataSample


@MODELS.register_module()
class DiffusionDataPreprocessor(BaseDataPreprocessor):
    """Moves data to the model's device; images among it become float, in [-1, 1].

    Images are (C, H, W) uint8 in a list, or stacked, or already float and in [-1, 1]. Requests
    for samples, which hold no images, pass through. Real images that data samples hold for MMagic's
    metrics are handed on as these ask for them, see `stacked_in_bgr`.

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
        if isinstance(data, dict) and not training:
            data_samples = data.get('data_samples')
            if isinstance(data_samples, list) and data_samples and 'gt_img' in data_samples[0]:
                data = {**data, 'data_samples': stacked_in_bgr(data_samples)}
        return data


def stacked_in_bgr(data_samples: Sequence[DataSample]) -> DataSample:
    """Data samples in one, their ``gt_img``, (N, C, H, W), in BGR: what MMagic's metrics read."""
    for data_sample in data_samples:
        if data_sample.metainfo.get('gt_channel_order', 'BGR').upper() == 'RGB':
            data_sample.gt_img = data_sample.gt_img.flip(0)
            data_sample.set_metainfo(dict(gt_channel_order='BGR'))
    return DataSample.stack(data_samples)


def listed(data_samples: DataSamples | None) -> list[DataSample]:
    """Data samples one by one, be they in a list, in one as MMagic stacks them, or not there."""
    if isinstance(data_samples, DataSample):
        return list(data_samples.split(allow_nonseq_value=True))
    return list(data_samples or ())


def labels_of(data_samples: DataSamples | None) -> Tensor | None:
    """The classes that data samples name as their ``gt_label``, (N,), if they do."""
    # Those in one are left in one: to take them apart is slow.
    each = [data_samples] if isinstance(data_samples, DataSample) else listed(data_samples)
    if not each or 'gt_label' not in each[0]:
        return None
    return torch.cat([data_sample.gt_label.label.flatten() for data_sample in each])


def infer_arguments(inputs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``infer`` for a request of a data loader.

    Args:
        inputs: Either ``seed`` and ``label``, a list each, and ``measurement`` where there is
            something to restore; or MMagic's ``num_batches``, ``noise`` and ``sample_kwargs``, the
            last of which come first.
    """
    request = dict(
        batch_size=inputs.get('num_batches', 1),
        init_image=inputs.get('init_image', inputs.get('noise')),
        seeds=inputs.get('seed'),
        labels=inputs.get('label'),
    )
    if 'measurement' in inputs:
        request['measurement'] = Measurement.joined(inputs['measurement'])
    return {**request, **(inputs.get('sample_kwargs') or {})}


def as_data_samples(
    result: Mapping[str, Any],
    inputs: dict[str, Any],
    data_samples: DataSamples | None,
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
    images, seeds = as_uint8(result['samples']), result['seeds']
    labels = None if result['labels'] is None else result['labels'].tolist()
    filled = listed(data_samples) or [DataSample() for _ in seeds]
    indices = inputs.get('index', [None] * len(seeds))
    for i, data_sample in enumerate(filled):
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
    return filled


def _holds_images(inputs: Any) -> bool:
    if isinstance(inputs, Tensor):
        return True
    return isinstance(inputs, (list, tuple)) and all(isinstance(x, Tensor) for x in inputs)
