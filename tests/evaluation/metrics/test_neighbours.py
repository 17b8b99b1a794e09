import numpy as np
import pytest
import torch

from mmagic_adm.evaluation.metrics.neighbours import prdc, precision_recall
from tests.reference import load_golden


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr('mmagic_adm.evaluation.metrics.neighbours.ROWS', 7)
    monkeypatch.setattr('mmagic_adm.evaluation.metrics.neighbours.COLUMNS', 11)


def random_rows(count, dim=8, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) + shift


def by_definition(reference, samples, k):
    """Straight from the paper, all distances at once."""

    def balls(points, centres):
        radii = np.sort(np.linalg.norm(centres[:, None] - centres, axis=2), axis=1)[:, k]
        return np.linalg.norm(points[:, None] - centres, axis=2), radii

    reference, samples = reference.double().numpy(), samples.double().numpy()
    distances, radii = balls(samples, reference)
    back, back_radii = balls(reference, samples)
    return {
        'Precision': (distances <= radii).any(1).mean(),
        'Recall': (back <= back_radii).any(1).mean(),
        'Density': (distances < radii).sum() / (k * len(samples)),
        'Coverage': (distances < radii).any(0).mean(),
    }


def test_it_is_the_original_evaluators():
    golden = load_golden('metrics', 'feature_metrics')
    figures = precision_recall(golden.reference, golden.samples, golden.meta['neighbourhood'])
    assert figures == (float(golden.precision), float(golden.recall))


def test_density_and_coverage_are_the_original_ones():
    golden = load_golden('metrics', 'density_coverage')
    figures = prdc(golden.reference, golden.samples, golden.meta['neighbourhood'])
    expected = (golden.arrays[name.lower()] for name in figures)
    assert list(figures.values()) == pytest.approx([float(value) for value in expected], abs=1e-12)


@pytest.mark.parametrize('k', [1, 3, 5])
def test_it_is_what_the_definition_says(k, small_blocks):
    reference, samples = random_rows(40), random_rows(30, seed=1, shift=0.3)
    assert prdc(reference, samples, k) == pytest.approx(by_definition(reference, samples, k))


def test_features_far_from_zero_lose_nothing(small_blocks):
    reference, samples = random_rows(40), random_rows(30, seed=1, shift=0.3)
    far = prdc(reference + 500, samples + 500)
    assert far == pytest.approx(by_definition(reference + 500, samples + 500, 5))


def test_a_set_against_itself_is_all_of_everything(small_blocks):
    assert set(prdc(random_rows(40), random_rows(40)).values()) == {1}


def test_a_collapsed_set_against_itself_too(small_blocks):
    rows = random_rows(4).repeat(12, 1) + 100
    assert precision_recall(rows, rows.clone()) == (1, 1)


def test_sets_far_apart_have_neither():
    assert precision_recall(random_rows(20), random_rows(20, shift=100.0)) == (0, 0)


def test_samples_from_one_corner_are_precise_but_recall_little():
    reference = random_rows(200, dim=2)
    corner = reference[(reference > 0).all(1)][:30]
    precision, recall = precision_recall(reference, corner)
    assert precision == 1
    assert recall < 0.5


def test_half_precision_is_compared_in_float32():
    reference, samples = random_rows(40).half(), random_rows(30, seed=1).half()
    assert prdc(reference, samples) == pytest.approx(by_definition(reference, samples, 5))


def test_too_few_samples_for_the_neighbourhood_are_refused():
    with pytest.raises(ValueError, match='at least 4 samples; the reference has 20 and the other'):
        precision_recall(random_rows(20), random_rows(3))


def test_other_features_are_refused():
    with pytest.raises(ValueError, match=r'\(20, 8\) and \(20, 9\)'):
        precision_recall(random_rows(20), random_rows(20, dim=9))


@pytest.fixture
def tensorfloat():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def test_tensorfloat_is_off_inside_and_as_before_outside(tensorfloat, monkeypatch):
    addmm, allowed = torch.addmm, []

    def watched(*args, **kwargs):
        allowed.append(torch.backends.cuda.matmul.allow_tf32)
        return addmm(*args, **kwargs)

    monkeypatch.setattr(torch, 'addmm', watched)
    precision_recall(random_rows(20), random_rows(20))
    assert allowed
    assert not any(allowed)
    assert torch.backends.cuda.matmul.allow_tf32
