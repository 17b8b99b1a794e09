import numpy as np
import pytest
from PIL import Image

from mmagic_adm.evaluation import Resize, SampleEvaluator, evaluate, write_batch
from mmagic_adm.evaluation.image_sets import ImageBatch
from tests.evaluation.tiny import TINY, as_samples, blocky_images

FAMILY = ['Inception Score', 'FID', 'sFID', 'Precision', 'Recall']


@pytest.fixture
def reference(tmp_path):
    write_batch(tmp_path / 'reference.npz', [blocky_images(60)], 60)
    return tmp_path / 'reference.npz'


def test_the_familys_five_figures_come_in_its_order(reference):
    assert list(evaluate(reference, reference, TINY)) == FAMILY


def test_a_batch_against_itself_is_perfect(reference):
    figures = evaluate(reference, reference, TINY, batch_size=7)
    assert figures['FID'] < 1e-6
    assert figures['sFID'] < 1e-6
    assert (figures['Precision'], figures['Recall']) == (1, 1)


def test_a_folder_gives_the_figures_of_the_same_images_in_a_batch(reference, tmp_path):
    images = blocky_images(40, seed=1)
    write_batch(tmp_path / 'samples.npz', [images], 40)
    folder = tmp_path / 'folder'
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f'{i:03}.png')
    expected = evaluate(reference, tmp_path / 'samples.npz', TINY)
    assert evaluate(reference, folder, TINY) == pytest.approx(expected)


def test_a_network_without_spatial_features_gives_no_sfid(reference, monkeypatch):
    monkeypatch.setattr('tests.evaluation.tiny.TinyFeatures.kinds', ('pool', 'logits'))
    figures = evaluate(reference, reference, dict(TINY, dim=3))
    assert list(figures) == ['Inception Score', 'FID', 'Precision', 'Recall']


def test_another_size_is_refused_before_any_work(reference, tmp_path):
    write_batch(tmp_path / 'samples.npz', [blocky_images(40, size=16)], 40)
    with pytest.raises(ValueError, match=r'samples\.npz are 16x16, but .*reference\.npz is of 8x8'):
        evaluate(reference, tmp_path / 'samples.npz', dict(type='NotEvenBuilt'))


def test_statistics_alone_are_no_reference_for_five_figures(tmp_path, reference):
    np.savez(tmp_path / 'edm.npz', mu=np.zeros(6), sigma=np.eye(6))
    with pytest.raises(ValueError, match='has no images'):
        evaluate(tmp_path / 'edm.npz', reference, TINY)


def kinds(*names, **arguments):
    return [dict(_scope_='mmagic_adm', type=name, **arguments) for name in names]


class TestSampleEvaluator:
    def test_metrics_share_the_reference_and_the_network(self, reference):
        metrics = kinds('InceptionScore', 'FrechetInceptionDistance', 'PrecisionRecall')
        score, distance, recall = SampleEvaluator(metrics, reference, TINY).metrics
        assert score.extractor is distance.extractor is recall.extractor
        assert distance.reference is recall.reference

    def test_a_metric_may_have_its_own(self, reference, tmp_path):
        write_batch(tmp_path / 'other.npz', [blocky_images(20, seed=1)], 20)
        own = dict(reference=str(tmp_path / 'other.npz'), features=dict(TINY, dim=3), prefix='own')
        metrics = kinds('FrechetInceptionDistance') + kinds('FrechetInceptionDistance', **own)
        evaluator = SampleEvaluator(metrics, reference, TINY)
        evaluator.process(as_samples(blocky_images(60)))
        figures = evaluator.evaluate(60)
        assert figures['FID'] < 1e-6 < figures['own/FID']

    def test_metrics_that_take_neither_are_left_alone(self, reference):
        evaluator = SampleEvaluator(kinds('BitsPerDim'), reference, TINY)
        evaluator.process([dict(bits_per_dim=2.5)])
        assert evaluator.evaluate(1) == {'Bits per dim': 2.5}

    def test_a_metric_without_its_reference_is_refused(self):
        with pytest.raises(TypeError, match='reference'):
            SampleEvaluator(kinds('FrechetInceptionDistance'), features=TINY)


def test_metrics_go_by_name_and_may_take_another_network(reference):
    networks = dict(dinov2=dict(TINY, dim=3), clip=dict(TINY, dim=4))
    names = ['fid', 'fd_dinov2', 'kid', 'cmmd', 'pr:dinov2']
    evaluator = SampleEvaluator(names, reference, TINY, networks, repeats=2)
    assert [metric.extractor.weight.shape[1] for metric in evaluator.metrics] == [6, 3, 6, 4, 3]
    assert {metric.repeats for metric in evaluator.metrics} == {2}
    evaluator.process(as_samples(blocky_images(60)))
    figures = evaluator.evaluate(60)
    assert {'FID', 'FD-DINOv2', 'KID', 'CMMD', 'dinov2/Precision', 'FID ±'} <= figures.keys()
    assert figures['FD-DINOv2'] < 1e-6
    assert figures['dinov2/Recall'] == 1


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('fd', "there is no metric 'fd'; did you mean fid"),
        ('kid:resnet', "there is no network 'resnet'; there are inception, dinov2, clip"),
    ],
)
def test_a_name_of_nothing_is_named(name, said, reference):
    with pytest.raises(ValueError, match=said):
        SampleEvaluator([name], reference, TINY)


def test_several_networks_look_at_each_batch_once_in_one_pass(reference, tmp_path, monkeypatch):
    read = []
    batches = ImageBatch.batches

    def watched(self, *arguments):
        read.append(self.path.name)
        yield from batches(self, *arguments)

    monkeypatch.setattr(ImageBatch, 'batches', watched)
    write_batch(tmp_path / 'samples.npz', [blocky_images(40, seed=1)], 40)
    networks = dict(dinov2=dict(TINY, dim=3), clip=dict(TINY, dim=4))
    names = ['fid', 'kid', 'prdc', 'fd_dinov2', 'prdc:dinov2', 'cmmd']
    samples = tmp_path / 'samples.npz'
    evaluate(reference, samples, TINY, metrics=names, networks=networks)
    assert read.count('samples.npz') == 1


def test_sizes_that_differ_are_compared_when_asked(reference, tmp_path):
    images = blocky_images(60).repeat(2, axis=1).repeat(2, axis=2)
    write_batch(tmp_path / 'large.npz', [images], 60)
    figures = evaluate(reference, tmp_path / 'large.npz', TINY, resize=Resize(8, 'box'))
    assert figures['FID'] < 1e-6


def test_a_data_set_is_a_reference(reference):
    config = dict(type='NpzImages', ann_file=str(reference))
    assert evaluate(config, reference, TINY, metrics=['fid'])['FID'] < 1e-6
