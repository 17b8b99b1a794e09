from collections import Counter

import numpy as np
import pytest
import torch

from mmagic_adm.evaluation import inception_score
from mmagic_adm.evaluation.metrics.score import score_of, split_sums
from tests.reference import load_golden


def probabilities(count=25, classes=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, classes, generator=generator).mul(2).softmax(1)


def test_it_is_the_original_evaluators():
    golden = load_golden('metrics', 'feature_metrics')
    score = inception_score(golden.probabilities, split_size=golden.meta['split_size'])
    assert score == pytest.approx(float(golden.inception_score), abs=1e-12)


def test_sure_and_evenly_spread_predictions_score_the_number_of_classes():
    assert inception_score(np.eye(7)) == pytest.approx(7)


def test_predictions_that_are_all_alike_score_one():
    assert inception_score(np.full((20, 5), 0.2)) == pytest.approx(1)


def test_a_class_that_is_never_seen_does_not_make_it_nan():
    assert inception_score(np.eye(3)[[0, 1, 0, 1]]) == pytest.approx(2)


def test_what_is_left_over_is_a_split_of_its_own():
    p = probabilities(25)
    parts = [inception_score(part) for part in p.split([10, 10, 5])]
    assert inception_score(p, split_size=10) == pytest.approx(np.mean(parts))


def test_samples_in_any_order_score_as_in_the_order_of_their_indices():
    p = probabilities()
    sums = Counter()
    for indices in torch.randperm(len(p)).split(4):
        sums.update(split_sums(p[indices], indices.tolist(), split_size=10))
    assert score_of(sums) == pytest.approx(inception_score(p, split_size=10))


def test_no_samples_have_no_score():
    with pytest.raises(ValueError, match='no samples'):
        inception_score(np.zeros((0, 5)))
