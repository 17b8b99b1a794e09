import math
import time

import numpy as np
import pytest
import scipy.linalg
import torch

from mmagic_adm.evaluation import (
    ClassFrechetDistance,
    ExtrapolatedFrechetDistance,
    Rows,
    RunningStatistics,
    frechet_distance,
    write_batch,
)
from mmagic_adm.evaluation.metrics.frechet import frechet_distance_of_rows
from tests.evaluation.tiny import TINY, blocky_images, run_on_processes
from tests.reference import load_golden


def statistics(features):
    return features.mean(0), torch.cov(features.T)


def random_features(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(0, -2, dim, dtype=torch.float64)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64) * scales + 0.1 * seed


def overlap_from_features(x, y):
    """Tr (sigma1 sigma2)^(1/2) without any covariance: these are factors of them."""
    x, y = ((z - z.mean(0)) / math.sqrt(len(z) - 1) for z in (x, y))
    return torch.linalg.svdvals(x @ y.T).sum()


def distance_from_features(x, y):
    (mu1, sigma1), (mu2, sigma2) = statistics(x), statistics(y)
    spread = sigma1.trace() + sigma2.trace() - 2 * overlap_from_features(x, y)
    return float((mu1 - mu2).square().sum() + spread)


def test_it_is_the_original_evaluators():
    golden = load_golden('metrics', 'feature_metrics')
    distance = frechet_distance(*statistics(golden.reference), *statistics(golden.samples))
    assert distance == pytest.approx(float(golden.fid), abs=1e-12)


def test_it_is_what_scipys_matrix_square_root_gives():
    (mu1, sigma1), (mu2, sigma2) = (
        statistics(random_features(n, 40, seed)) for n, seed in ((300, 1), (200, 2))
    )
    root = scipy.linalg.sqrtm((sigma1 @ sigma2).numpy())
    expected = (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * root.real.trace()
    assert frechet_distance(mu1, sigma1, mu2, sigma2) == pytest.approx(float(expected), rel=1e-9)


def test_gaussians_on_a_line_are_apart_by_their_means_and_deviations():
    distance = frechet_distance([1.0], [[4.0]], [4.0], [[25.0]])
    assert distance == pytest.approx((4 - 1) ** 2 + (5 - 2) ** 2)


def test_numpy_arrays_of_float32_are_welcome():
    x = random_features(100, 8, 0)
    mu, sigma = (array.float().numpy() for array in statistics(x))
    assert frechet_distance(mu, sigma, mu, sigma) < 1e-6


@pytest.mark.parametrize('count', [3, 20, 64, 400])
def test_a_set_is_at_distance_zero_from_itself(count):
    stats = statistics(100 * random_features(count, 64, 0))
    assert frechet_distance(*stats, *stats) < 1e-6


@pytest.mark.parametrize(('n', 'm'), [(10, 400), (400, 10), (10, 20), (2, 2)])
def test_fewer_samples_than_features_give_the_exact_distance(n, m):
    x, y = random_features(n, 64, 1), random_features(m, 64, 2)
    distance = frechet_distance(*statistics(x), *statistics(y))
    assert distance == pytest.approx(distance_from_features(x, y), abs=1e-7)


def test_features_that_never_change_count_by_their_means_alone():
    x, y = random_features(50, 8, 1), random_features(50, 8, 2)
    x[:, 3] = y[:, 3] = 0.5
    x[:, 4], y[:, 4] = 1.0, 3.0
    kept = [0, 1, 2, 5, 6, 7]
    expected = frechet_distance(*statistics(x[:, kept]), *statistics(y[:, kept])) + 4
    assert frechet_distance(*statistics(x), *statistics(y)) == pytest.approx(expected, abs=1e-9)


def test_covariances_of_nothing_in_common_have_no_overlap():
    sigma1, sigma2 = torch.diag(torch.tensor([1.0, 0, 0])), torch.diag(torch.tensor([0, 4.0, 0]))
    assert frechet_distance(np.zeros(3), sigma1, np.zeros(3), sigma2) == pytest.approx(5)


def test_statistics_of_different_features_are_refused_with_their_shapes():
    small, large = statistics(random_features(9, 3, 0)), statistics(random_features(9, 4, 0))
    with pytest.raises(ValueError, match=r'\(3,\) and \(3, 3\) on one side, \(4,\) and \(4, 4\)'):
        frechet_distance(*small, *large)


def test_statistics_that_are_not_finite_are_refused():
    mu, sigma = statistics(random_features(9, 3, 0))
    with pytest.raises(ValueError, match='not finite'):
        frechet_distance(mu, sigma * math.nan, mu, sigma)


@pytest.mark.slow
@pytest.mark.parametrize('count', [3000, 500])
def test_2048_features_take_seconds(count):
    running = [RunningStatistics(), RunningStatistics()]
    for seed, each in enumerate(running):
        each.update(random_features(count, 2048, seed))
    begin = time.perf_counter()
    frechet_distance(*(part for r in running for part in (r.mean, r.covariance)))
    assert time.perf_counter() - begin < 60


def narrow(count=70, dim=5):
    # Far from zero and narrow, where sums of squares would lose all digits.
    return torch.from_numpy(np.random.default_rng(0).normal(1000, 1e-3, (count, dim)))


def update_in_pieces(running, x, *lengths):
    for piece in x.split(list(lengths)):
        running.update(piece)
    return running


def assert_statistics_of(running, x):
    assert running.count == len(x)
    np.testing.assert_allclose(running.mean, np.mean(x.numpy(), axis=0), rtol=1e-14)
    np.testing.assert_allclose(
        running.covariance, np.cov(x.numpy(), rowvar=False), rtol=1e-8, atol=1e-16
    )


class TestRunningStatistics:
    @pytest.mark.parametrize('lengths', [(70,), (1, 69), (35, 35), (1, 1, 0, 8, 60)])
    def test_batch_by_batch_is_the_same_as_at_once(self, lengths):
        assert_statistics_of(update_in_pieces(RunningStatistics(), narrow(), *lengths), narrow())

    def test_float32_features_are_summed_in_float64(self):
        x = narrow().float()
        running = update_in_pieces(RunningStatistics(), x, 30, 40)
        assert running.covariance.dtype == torch.float64
        assert_statistics_of(running, x.double())

    def test_a_batch_given_is_left_as_it_was(self):
        x = narrow()
        update_in_pieces(RunningStatistics(), x, 35, 35)
        assert torch.equal(x, narrow())

    def test_one_process_alone_merges_to_itself(self):
        assert_statistics_of(update_in_pieces(RunningStatistics(), narrow(), 70).merged(), narrow())

    def test_nothing_at_all_merges_to_nothing(self):
        assert RunningStatistics().merged().count == 0

    @pytest.mark.parametrize('world_size', [2, 3])
    def test_several_processes_merge_to_the_statistics_of_all(self, world_size, tmp_path):
        def merged():
            running = RunningStatistics()
            # The last process has no part in it where there are three.
            shares = narrow().split([10, 60, 0])
            running.update(shares[torch.distributed.get_rank()])
            result = running.merged()
            return result.count, result.mean.numpy(), result.covariance.numpy(), running.count

        for count, mean, covariance, own in run_on_processes(merged, world_size, tmp_path):
            assert count == 70
            assert own in (10, 60, 0)
            np.testing.assert_allclose(mean, narrow().mean(0), rtol=1e-14)
            np.testing.assert_allclose(covariance, torch.cov(narrow().T), rtol=1e-8, atol=1e-16)

    def test_one_sample_has_no_covariance(self):
        running = update_in_pieces(RunningStatistics(), narrow(1), 1)
        with pytest.raises(ValueError, match='two samples at least, there are 1'):
            _ = running.covariance


def normal_rows(count, seed, dim=3):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('counts', [(40, 30), (5, 30), (4, 3)])
def test_the_distance_of_rows_is_that_of_their_statistics(counts):
    x, y = (normal_rows(count, seed, dim=8).double() for seed, count in enumerate(counts))
    expected = frechet_distance(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))
    assert frechet_distance_of_rows(x, y) == pytest.approx(expected, rel=1e-6)


def reference_in(folder, labels):
    write_batch(folder / 'reference.npz', [blocky_images(8)], 8, dict(arr_1=labels))
    return folder / 'reference.npz'


def test_fid_inf_is_where_more_and_more_samples_lead(tmp_path):
    metric = ExtrapolatedFrechetDistance(reference_in(tmp_path, np.zeros(8, int)), TINY)
    count, dim, seeds = 800, 20, range(16)
    reference = torch.eye(dim)[0].double(), torch.eye(dim).double()  # at a distance of 1
    figures = []
    for seed in seeds:
        x = normal_rows(count, seed, dim).double()
        [found] = metric.compare(Rows(x), reference).values()
        figures.append((found, frechet_distance(x.mean(0), torch.cov(x.T), *reference)))
    assert metric.compare(Rows(x), reference) == {'FID_inf': found}
    at_infinity, of_all = np.mean(figures, axis=0)
    errors = np.std(figures, axis=0, ddof=1) / math.sqrt(len(seeds))
    # To first order in 1 / N: the squared error of the mean, and a quarter of the covariance's.
    excess = dim / count + dim * (dim + 1) / (4 * count)
    assert abs(of_all - (1 + excess)) < 3 * errors[1]
    assert abs(at_infinity - 1) < 3 * errors[0] < excess


def test_fid_of_each_class_is_of_the_samples_of_that_class(tmp_path):
    metric = ClassFrechetDistance(reference_in(tmp_path, np.arange(8) % 2), TINY)
    x, y = normal_rows(30, 0), normal_rows(40, 1)
    x_labels, y_labels = torch.arange(30) % 3, torch.arange(40) % 2
    y_labels[-1] = 2  # of which one image makes no covariance
    figures = metric.compare(Rows(x, None, x_labels), Rows(y, None, y_labels))
    each = [frechet_distance_of_rows(x[x_labels == k], y[y_labels == k]) for k in (0, 1)]
    expected = {'Class FID': np.mean(each), 'Class FID[0]': each[0], 'Class FID[1]': each[1]}
    assert figures == pytest.approx(expected)
    assert metric.doubt(20, 10).startswith('about 10 samples of each class')
    with pytest.raises(ValueError, match='these samples have no classes'):
        metric.compare(Rows(x), Rows(y, None, y_labels))


def test_fid_of_each_class_takes_a_reference_with_classes(tmp_path):
    np.savez(tmp_path / 'r.npz', blocky_images(8))
    with pytest.raises(ValueError, match=r'r\.npz has no classes; those of an \.npz are in arr_1'):
        ClassFrechetDistance(tmp_path / 'r.npz', TINY)
