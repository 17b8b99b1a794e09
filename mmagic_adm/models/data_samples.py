"""Between the runner's language and the model's: requests in, data samples out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmagic.structures import DataSample

from mmagic_adm.files.pictures import as_uint8


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
