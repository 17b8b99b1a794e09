import numpy as np
import pytest
import torch

from mmagic_adm.evaluation import Authenticity, Rows
from tests.evaluation.metrics.test_neighbours import random_rows, small_blocks  # noqa: F401
from tests.evaluation.tiny import TINY, blocky_images


@pytest.fixture
def metric(tmp_path):
    np.savez(tmp_path / 'reference.npz', blocky_images(8))
    return Authenticity(tmp_path / 'reference.npz', TINY, shown=2)


def test_a_copy_is_not_authentic_and_fresh_data_is_about_half_the_time(metric):
    reference = Rows(random_rows(200, dim=4))
    copies = Rows(reference.features[:50] + 1e-3)
    assert metric.compare(copies, reference) == {'Authenticity': 0}
    fresh = metric.compare(Rows(random_rows(200, dim=4, seed=1)), reference)
    assert fresh['Authenticity'] == pytest.approx(0.5, abs=0.12)
    assert metric.compare(Rows(random_rows(9, dim=4, shift=50.0)), reference)['Authenticity'] == 1


def test_the_samples_nearest_to_the_reference_are_named_by_their_numbers(metric, small_blocks):  # noqa: F811
    real, made = random_rows(40), random_rows(30, seed=1)
    made[17] = real[5]
    made[3] = real[31] + 0.01
    samples, reference = Rows(made, range(100, 130)), Rows(real, range(0, 80, 2))
    metric.compute_metrics([(samples, reference)])
    first, second = metric.pairs
    assert [len(first), len(second)] == [3, 3]
    assert (first[0].sample, first[0].image, first[0].distance) == (117, 10, 0)
    assert (second[0].sample, second[0].image) == (103, 62)
    distances = torch.cdist(made[17:18], real)[0].sort()
    assert [pair.image for pair in first] == (2 * distances.indices[:3]).tolist()
    assert [pair.distance for pair in first] == pytest.approx(distances.values[:3], abs=1e-5)
