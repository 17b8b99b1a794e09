import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmagic_adm.evaluation import KernelInceptionDistance, Rows, gaussian_mmd, polynomial_mmd
from tests.evaluation.tiny import TINY, blocky_images
from tests.reference import load_golden


def random_rows(count, dim=16, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) + shift


def test_kid_of_the_goldens_subsets_is_torch_fidelitys():
    golden = load_golden('metrics', 'kid')
    found = [
        polynomial_mmd(golden.reference[ours], golden.samples[theirs])
        for ours, theirs in zip(golden.subsets_reference, golden.subsets_samples, strict=True)
    ]
    np.testing.assert_allclose(found, golden.mmd, rtol=1e-9, atol=1e-12)


@pytest.fixture
def kid(tmp_path):
    np.savez(tmp_path / 'reference.npz', blocky_images(8))

    def metric(**settings):
        return KernelInceptionDistance(tmp_path / 'reference.npz', TINY, **settings)

    return metric


def test_kid_draws_the_subsets_that_torch_fidelity_draws(kid):
    golden = load_golden('metrics', 'kid')
    settings = dict(subsets=10, subset_size=golden.meta['subset_size'])
    figures = kid(**settings).compare(Rows(golden.samples), Rows(golden.reference))
    expected = {'KID': float(golden.kid_mean), 'KID std': float(golden.kid_std)}
    assert figures == pytest.approx(expected, rel=1e-9)


def test_kid_is_torch_fidelitys_on_the_same_features(kid):
    theirs = pytest.importorskip('torch_fidelity.metric_kid')
    reference, samples = random_rows(150, 64).abs(), random_rows(120, 64, 1, 0.1).abs()
    expected = theirs.kid_features_to_metric(
        reference, samples, kid_subsets=5, kid_subset_size=100, rng_seed=2020, verbose=False
    )
    figures = kid(subsets=5, subset_size=100).compare(Rows(samples), Rows(reference))
    assert list(figures.values()) == pytest.approx(list(expected.values()), abs=1e-6)


def test_subsets_shrink_to_what_there_is_which_is_warned_of(kid):
    metric = kid()
    assert metric.doubt(999, 6).startswith('999 samples: subsets of 1000 shrink to that')
    assert not metric.doubt(1000, 6)
    rows = Rows(random_rows(30))
    assert metric.compare(rows, rows)['KID'] < 0  # unbiased: below 0 of a set against itself
    with pytest.raises(ValueError, match='two samples at least'):
        metric.compare(Rows(random_rows(1)), rows)


def test_cmmd_is_the_goldens():
    golden = load_golden('metrics', 'cmmd')
    sides = golden.samples, golden.reference
    assert gaussian_mmd(*sides) == pytest.approx(float(golden.cmmd), rel=1e-9)
    normal = (F.normalize(side) for side in sides)
    assert gaussian_mmd(*normal) == pytest.approx(float(golden.cmmd_unit_norm), rel=1e-9)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_cmmd_keeps_its_digits_in_blocks_of_any_size(dtype, monkeypatch):
    golden = load_golden('metrics', 'cmmd')
    sides = [F.normalize(side).to(dtype) for side in (golden.samples, golden.reference)]
    monkeypatch.setattr('mmagic_adm.evaluation.metrics.neighbours.ROWS', 50)
    monkeypatch.setattr('mmagic_adm.evaluation.metrics.neighbours.COLUMNS', 64)
    assert gaussian_mmd(*sides) == pytest.approx(float(golden.cmmd_unit_norm), abs=2e-6)
    assert gaussian_mmd(sides[0], sides[0]) == 0
