import collections

import pytest
from mmengine.dataset import pseudo_collate

from mmagic_adm.datasets import SampleSpecs
from tests.tiny import build_model


def specs(dataset):
    return [dataset[i]['inputs'] for i in range(len(dataset))]


def labels(**kwargs):
    return [spec['label'] for spec in specs(SampleSpecs(**kwargs))]


def test_a_sample_has_its_index_its_seed_and_a_label():
    dataset = SampleSpecs(3, labels=7, seed=100)
    assert specs(dataset) == [
        dict(index=0, seed=100, label=7),
        dict(index=1, seed=101, label=7),
        dict(index=2, seed=102, label=7),
    ]


@pytest.mark.parametrize('kind', ['uniform', 'balanced', None, 3, [5, 6, 7]])
def test_a_sample_is_the_same_in_a_run_of_any_length_and_start(kind):
    whole = specs(SampleSpecs(50, labels=kind, seed=9))
    assert specs(SampleSpecs(20, labels=kind, seed=9)) == whole[:20]
    assert specs(SampleSpecs(20, labels=kind, seed=9, start=30)) == whole[30:]


def test_uniform_labels_are_those_that_the_model_draws_of_the_same_seeds():
    model = build_model(num_inference_steps=1)
    dataset = SampleSpecs(8, labels='uniform')
    made = model.test_step(pseudo_collate([dataset[i] for i in range(8)]))
    expected = model.infer(seeds=range(8))['labels'].tolist()
    assert [int(sample.gt_label.label) for sample in made] == expected
    assert len(set(expected)) > 3


def test_uniform_labels_are_refused_by_a_model_without_classes():
    model = build_model(unet=dict(num_classes=None), num_inference_steps=1)
    with pytest.raises(ValueError, match='this model has no classes'):
        model.test_step(pseudo_collate([SampleSpecs(1, labels='uniform')[0]]))


def test_balanced_labels_come_equally_often():
    counts = collections.Counter(labels(num_samples=50, labels='balanced', num_classes=10))
    assert set(counts.values()) == {5}


def test_a_list_of_labels_is_gone_through_again_and_again():
    assert labels(num_samples=5, labels=[4, 2]) == [4, 2, 4, 2, 4]


def test_labels_left_to_the_model_are_not_named():
    assert specs(SampleSpecs(2, labels=None)) == [dict(index=0, seed=0), dict(index=1, seed=1)]


def test_a_batch_is_what_a_model_takes():
    dataset = SampleSpecs(4, labels=[1, 2])
    batch = pseudo_collate([dataset[2], dataset[3]])
    assert batch == dict(inputs=dict(index=[2, 3], seed=[2, 3], label=[1, 2]))


def test_metrics_are_told_how_many_come():
    assert SampleSpecs(5, start=10).metainfo == dict(num_samples=5, start=10)


def test_it_ends():
    assert len(list(SampleSpecs(5))) == 5


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_samples=0), 'num_samples is how many to make, not 0'),
        (dict(seed=-1), 'seed counts from 0 up, not -1'),
        (dict(num_samples=10**12), 'seeds go up to 4294967295'),
        (dict(labels='random'), "'uniform', 'balanced', numbers or None, not 'random'"),
        (dict(labels=1000), 'label 1000 is out of range: num_classes=1000 has 0 to 999'),
        (dict(labels=[3, -1]), 'label -1 is out of range'),
        (dict(labels=[]), 'an empty list'),
        (dict(num_classes=0), 'without classes, labels is None'),
    ],
)
def test_bad_requests_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SampleSpecs(**{'num_samples': 4, **kwargs})
