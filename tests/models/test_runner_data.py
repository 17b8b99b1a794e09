import numpy as np
import pytest
import torch
from mmagic.structures import DataSample
from mmengine.dataset import pseudo_collate

from mmagic_adm.datasets.stream import stacked_images
from mmagic_adm.datasets.transforms import PackTrainingImage
from mmagic_adm.models.runner_data import (
    DiffusionDataPreprocessor,
    as_data_samples,
    labels_of,
    listed,
)


@pytest.mark.parametrize('stack', [list, torch.stack])
def test_images_of_a_batch_become_floats(stack):
    pixels = [torch.full((3, 2, 2), value, dtype=torch.uint8) for value in (0, 255)]
    images = DiffusionDataPreprocessor()(dict(inputs=stack(pixels)))['inputs']
    assert images.shape == (2, 3, 2, 2)
    assert images.aminmax() == (-1, 1)


def test_a_batch_in_one_piece_is_the_batch_in_many():
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    images = [dict(img=each, gt_label=label) for each, label in zip(pixels, (2, 0, 1), strict=True)]
    items = [PackTrainingImage()(image) for image in images]
    prepare = DiffusionDataPreprocessor()
    one, many = (prepare(batch(items), training=True) for batch in (stacked_images, pseudo_collate))
    assert torch.equal(one['inputs'], many['inputs'])
    for batch in (one, many):
        assert labels_of(batch['data_samples']).tolist() == [2, 0, 1]


def test_requests_pass_through():
    request = dict(inputs=dict(seed=[3], label=[1]))
    assert DiffusionDataPreprocessor()(request) == request


def test_nobody_waits_for_copies(monkeypatch):
    """Neither for images nor for labels, whose tensors move with their data samples."""
    told, move = [], torch.Tensor.to

    def watched(tensor, *args, **kwargs):
        told.append(kwargs.get('non_blocking', False))
        return move(tensor, *args, **kwargs)

    sample = DataSample()
    sample.set_gt_label(4)
    batch = dict(inputs=[torch.zeros(3, 2, 2)], data_samples=[sample])
    monkeypatch.setattr(torch.Tensor, 'to', watched)
    assert DiffusionDataPreprocessor()(batch)['data_samples'][0].gt_label.label == 4
    assert told == [True, True]


def test_samples_say_what_they_are():
    result = dict(samples=torch.ones(1, 3, 2, 2), seeds=[7], labels=torch.tensor([4]))
    (sample,) = as_data_samples(result, dict(index=[9]), None, 'rgb')
    assert (sample.seed, sample.index, sample.gt_label.label.item()) == (7, 9, 4)
    assert sample.fake_img.dtype == torch.uint8
    assert sample.fake_img.min() == 255


@pytest.mark.parametrize('order', ['RGB', 'BGR'])
def test_real_images_are_handed_to_mmagics_metrics_stacked_and_in_bgr(order):
    red = torch.zeros(3, 2, 2, dtype=torch.uint8)
    red[order.index('R')] = 255
    sample = DataSample(gt_img=red, metainfo=dict(gt_channel_order=order))
    data = dict(inputs=[red, red], data_samples=[sample, sample])
    handed = DiffusionDataPreprocessor()(data)['data_samples']
    assert handed.gt_img.amax((0, 2, 3)).tolist() == [0, 0, 255]
    assert len(listed(handed)) == len(handed.gt_img) == 2
    assert sample.gt_img is red
