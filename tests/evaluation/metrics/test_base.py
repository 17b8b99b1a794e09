import json

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import LabelData
from torch.nn import functional as F

from mmagic_adm.evaluation import (
    PRDC,
    BitsPerDim,
    ClassifierAccuracy,
    CLIPMaximumMeanDiscrepancy,
    FrechetInceptionDistance,
    InceptionScore,
    KernelInceptionDistance,
    NoisyAccuracy,
    PrecisionRecall,
    Rows,
    SpatialFrechetInceptionDistance,
    frechet_distance,
    gaussian_mmd,
    inception_score,
    polynomial_mmd,
    prdc,
    precision_recall,
    write_batch,
)
from mmagic_adm.evaluation.features import shared_extractor
from mmagic_adm.registry import METRICS
from tests.evaluation.tiny import TINY, as_samples, blocky_images, run_on_processes

COUNT = 50
SAMPLES = blocky_images(COUNT, seed=1, high=200)
REFERENCE = blocky_images(60)


@pytest.fixture
def reference(tmp_path):
    write_batch(tmp_path / 'reference.npz', [REFERENCE], len(REFERENCE))
    return tmp_path / 'reference.npz'


def all_metrics(reference):
    return [
        FrechetInceptionDistance(reference, TINY),
        SpatialFrechetInceptionDistance(reference, TINY),
        InceptionScore(TINY, split_size=20),
        PrecisionRecall(reference, TINY),
        PRDC(reference, TINY, prefix='k=5'),
        KernelInceptionDistance(reference, TINY, subsets=3, subset_size=30),
        CLIPMaximumMeanDiscrepancy(reference, TINY),
    ]


def run(metrics, images=SAMPLES, batch_size=8, indices=None):
    evaluator = Evaluator(metrics)
    indices = list(range(len(images))) if indices is None else indices
    for begin in range(0, len(indices), batch_size):
        chosen = indices[begin : begin + batch_size]
        samples = [as_samples(images[[i]], i)[0] for i in chosen]
        evaluator.process(samples)
    return evaluator.evaluate(len(images))


def features(images, kind='pool'):
    return shared_extractor(TINY)(torch.from_numpy(images).permute(0, 3, 1, 2))[kind].double()


def expected_figures():
    def distance(kind):
        x, y = features(SAMPLES, kind), features(REFERENCE, kind)
        return frechet_distance(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))

    real, made = features(REFERENCE), features(SAMPLES)
    precision, recall = precision_recall(real, made)
    rng = np.random.RandomState(2020)
    mmds = [
        polynomial_mmd(*(rows[rng.choice(len(rows), 30, replace=False)] for rows in (real, made)))
        for _ in range(3)
    ]
    probabilities = features(SAMPLES, 'logits').softmax(1)
    return {
        'FID': distance('pool'),
        'sFID': distance('spatial'),
        'Inception Score': inception_score(probabilities, split_size=20),
        'Precision': precision,
        'Recall': recall,
        **{f'k=5/{name}': value for name, value in prdc(real, made).items()},
        'KID': np.mean(mmds),
        'KID std': np.std(mmds),
        'CMMD': gaussian_mmd(F.normalize(made), F.normalize(real)),
    }


def test_figures_are_those_of_all_samples_at_once(reference):
    assert run(all_metrics(reference)) == pytest.approx(expected_figures(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize('batch_size', [1, 7, 50])
def test_figures_do_not_depend_on_batches_or_order(batch_size, reference):
    order = np.random.default_rng(0).permutation(COUNT).tolist()
    figures = run(all_metrics(reference), batch_size=batch_size, indices=order)
    assert figures == pytest.approx(expected_figures(), rel=1e-6, abs=1e-6)


def test_figures_do_not_depend_on_the_number_of_processes(reference, tmp_path):
    def figures():
        rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        # 17, 17 and 16 samples: an uneven end.
        mine = list(range(rank, COUNT, world_size))
        return run(all_metrics(reference), indices=mine)

    for result in run_on_processes(figures, 3, tmp_path):
        assert result == pytest.approx(expected_figures(), rel=1e-6, abs=1e-6)


def test_a_set_against_itself_is_perfect(tmp_path):
    write_batch(tmp_path / 'same.npz', [SAMPLES], COUNT)
    figures = run(all_metrics(tmp_path / 'same.npz'))
    assert figures['FID'] < 1e-6
    assert figures['sFID'] < 1e-6
    assert abs(figures['CMMD']) < 1e-6
    for name in ('Precision', 'Recall', *(f'k=5/{name}' for name in PRDC.better)):
        assert figures[name] == 1


def test_one_look_at_each_batch_serves_all_metrics(reference):
    extractor = shared_extractor(TINY)
    metrics = all_metrics(reference)
    assert all(metric.extractor is extractor for metric in metrics[1:])
    calls = extractor.calls
    run(metrics, batch_size=10)
    assert extractor.calls - calls == 5 + 1  # batches of samples, and one of the reference


def test_a_metric_starts_anew_after_it_was_evaluated(reference):
    metrics = all_metrics(reference)
    run(metrics, images=REFERENCE)
    assert run(metrics) == pytest.approx(expected_figures(), rel=1e-6, abs=1e-6)


def test_only_precision_and_recall_keep_the_samples_features(reference):
    metrics = all_metrics(reference)
    evaluator = Evaluator(metrics)
    for begin in range(0, COUNT, 10):
        evaluator.process(as_samples(SAMPLES[begin : begin + 10], begin))

    def numbers_held(metric):
        held = metric._running
        tensors = [held.features] if isinstance(held, Rows) else vars(held).values()
        return sum(t.numel() for t in tensors if isinstance(t, torch.Tensor))

    assert [numbers_held(m) for m in (metrics[0], metrics[3])] == [6 + 6 * 6, COUNT * 6]


def test_two_metrics_of_one_kind_are_told_apart_by_their_prefix(reference):
    metrics = [InceptionScore(TINY), InceptionScore(dict(TINY, dim=4), prefix='other')]
    assert set(run(metrics)) == {'Inception Score', 'other/Inception Score'}


def test_metrics_are_built_from_config(reference):
    config = dict(
        _scope_='mmagic_adm', type='FrechetInceptionDistance', reference=str(reference),
        features=TINY,
    )  # fmt: skip
    assert run([METRICS.build(json.loads(json.dumps(config)))])['FID'] > 0


def test_samples_that_a_sampler_repeated_are_not_counted_twice(reference):
    metric = InceptionScore(TINY)
    metric.process(None, as_samples(SAMPLES))
    with pytest.raises(ValueError, match=r'given 50 samples of a set of 49; .* round_up=False'):
        metric.evaluate(49)


def test_splits_of_the_score_begin_with_the_first_sample():
    metric = InceptionScore(TINY, split_size=20)
    metric.dataset_meta = dict(start=30, num_samples=COUNT)
    metric.process(None, as_samples(SAMPLES, start=30))
    assert metric.evaluate(COUNT) == pytest.approx(
        {'Inception Score': expected_figures()['Inception Score']}
    )


def test_samples_of_another_size_than_the_reference_are_refused_at_the_first_batch(reference):
    metric = FrechetInceptionDistance(reference, TINY)
    with pytest.raises(ValueError, match=r'samples are 16x16, but .*reference.npz is of 8x8'):
        metric.process(None, as_samples(blocky_images(2, size=16)))


def test_too_few_samples_for_a_covariance_are_warned_of_at_the_first_batch(reference, monkeypatch):
    warnings = []
    monkeypatch.setattr(
        'mmagic_adm.evaluation.metrics.base.print_log',
        lambda message, *_: warnings.append(message),
    )
    for num_samples in (6, 7):
        metric = FrechetInceptionDistance(reference, TINY)
        metric.dataset_meta = dict(num_samples=num_samples)
        metric.process(None, as_samples(SAMPLES[:2]))
        metric.process(None, as_samples(SAMPLES[2:4]))
    [warning] = warnings
    assert warning.startswith('FID of 6 samples with 6 features: their covariance is singular')


def test_precision_and_recall_refuse_a_reference_without_images_before_any_sampling(tmp_path):
    np.savez(tmp_path / 'edm.npz', mu=np.zeros(6), sigma=np.eye(6))
    FrechetInceptionDistance(tmp_path / 'edm.npz', TINY)
    for metric in (PrecisionRecall, SpatialFrechetInceptionDistance):
        with pytest.raises(ValueError, match='has no images, but mu, sigma'):
            metric(tmp_path / 'edm.npz', TINY)


def test_a_network_without_spatial_features_has_no_sfid(reference, monkeypatch):
    monkeypatch.setattr('tests.evaluation.tiny.TinyFeatures.kinds', ('pool', 'logits'))
    with pytest.raises(ValueError, match="takes 'spatial' features, of which TinyFeatures gives"):
        SpatialFrechetInceptionDistance(reference, dict(TINY, dim=3))


def labelled(images, labels):
    samples = as_samples(images)
    for sample, label in zip(samples, labels, strict=True):
        sample['gt_label'] = LabelData(label=torch.tensor([label])).to_dict()
    return samples


def test_accuracy_counts_the_labels_that_are_recognised():
    ranked = features(SAMPLES, 'logits').argsort(1, descending=True)
    # The best guess for 30 samples, the second best for 10, the worst for 10.
    labels = torch.cat([ranked[:30, 0], ranked[30:40, 1], ranked[40:, -1]]).tolist()
    metric = ClassifierAccuracy(TINY, topk=(1, 2))
    metric.process(None, labelled(SAMPLES[:25], labels[:25]))
    metric.process(None, labelled(SAMPLES[25:], labels[25:]))
    assert metric.evaluate(COUNT) == {'Accuracy top-1': 0.6, 'Accuracy top-2': 0.8}


def test_accuracy_is_refused_without_labels_and_without_a_classifier(monkeypatch):
    with pytest.raises(ValueError, match='no labels'):
        ClassifierAccuracy(TINY).process(None, as_samples(SAMPLES))
    monkeypatch.setattr('tests.evaluation.tiny.TinyFeatures.predicts_labels', False)
    with pytest.raises(ValueError, match='not in the order of the labels'):
        ClassifierAccuracy(dict(TINY, dim=3))


def test_bits_per_dim_is_the_mean_over_the_dataset(tmp_path):
    def figures():
        rank = torch.distributed.get_rank()
        metric = BitsPerDim()
        for value in ([1.0, 2.0], [6.0])[rank]:
            metric.process(None, [dict(bits_per_dim=torch.tensor(value))])
        return metric.evaluate(3)

    assert run_on_processes(figures, 2, tmp_path) == [{'Bits per dim': 3.0}] * 2


def test_terms_of_the_bound_are_averaged_one_by_one():
    metric = BitsPerDim()
    metric.process(None, [dict(bits_per_dim=dict(total=4.0, prior=1.0))])
    metric.process(None, [dict(bits_per_dim=dict(total=2.0, prior=0.0))])
    assert metric.evaluate(2) == dict(total=3.0, prior=0.5)


def test_samples_without_a_bound_are_refused():
    with pytest.raises(ValueError, match='no bits_per_dim'):
        BitsPerDim().process(None, as_samples(SAMPLES[:1]))


def of_quarters(label, *ranked_by_quarter):
    """A sample in whose quarters the classes were ranked so, the likeliest first."""
    logits = torch.zeros(len(ranked_by_quarter), 4)
    for quarter, ranked in enumerate(ranked_by_quarter):
        for rank, klass in enumerate(ranked):
            logits[quarter, klass] = -rank
    return dict(logits=logits, gt_label=dict(label=torch.tensor([label])))


class TestNoisyAccuracy:
    def test_a_label_counts_within_the_ranks_asked_for(self):
        metric = NoisyAccuracy(topk=(1, 2))
        metric.process(None, [of_quarters(3, [3, 0, 1, 2], [0, 3, 1, 2])])
        metric.process(None, [of_quarters(1, [1, 0, 2, 3], [0, 2, 3, 1])])
        figures = metric.evaluate(2)
        assert figures['top1_q0'] == 1.0
        assert figures['top1_q1'] == 0.0
        assert figures['top2_q1'] == 0.5
        assert figures['top1'] == 0.5
        assert figures['top2'] == pytest.approx(0.75)

    def test_without_noise_there_are_no_quarters(self):
        metric = NoisyAccuracy(topk=(1,))
        metric.process(None, [of_quarters(0, [0, 1, 2, 3])])
        assert metric.evaluate(1) == {'top1': 1.0}


def test_intervals_are_as_wide_as_figures_of_other_samples_scatter():
    """Of a share the spread is known: sqrt(p (1 - p) / n)."""
    images = blocky_images(400, seed=2)
    best, second = features(images, 'logits').topk(2).indices.T
    labels = torch.where(torch.arange(400) % 4 == 0, second, best).tolist()  # right in 3 of 4
    metric = ClassifierAccuracy(TINY, topk=(1,), repeats=300)
    metric.process(None, labelled(images, labels))
    figures = metric.evaluate(400)
    assert figures['Accuracy top-1'] == 0.75
    expected = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert figures['Accuracy top-1 ±'] == pytest.approx(expected, rel=0.1)


def test_intervals_leave_the_figures_and_are_the_same_every_time(reference):
    metrics = [
        FrechetInceptionDistance(reference, TINY, repeats=3),
        InceptionScore(TINY, split_size=20, repeats=3),
        PrecisionRecall(reference, TINY, repeats=3),
    ]
    figures = run(metrics)
    plain = {name: value for name, value in figures.items() if '±' not in name}
    expected = expected_figures()
    assert plain == pytest.approx({name: expected[name] for name in plain}, rel=1e-6)
    assert all(figures[f'{name} ±'] > 0 for name in ('FID', 'Inception Score'))
    order = np.random.default_rng(0).permutation(COUNT).tolist()
    assert run(metrics, batch_size=7, indices=order) == pytest.approx(figures, rel=1e-5)


def test_an_interval_takes_two_repeats(reference):
    with pytest.raises(ValueError, match='two repeats and samples at least, not 1'):
        run([FrechetInceptionDistance(reference, TINY, repeats=1)])


def test_a_metric_knows_its_own_settings(reference):
    kid = KernelInceptionDistance(reference, TINY, subsets=3)
    assert kid.settings == dict(subsets=3, subset_size=1000, seed=2020)
    assert FrechetInceptionDistance(reference, TINY).settings == {}
