"""What an evaluation reads from the device for each batch: this, each once, and nothing else."""

import numpy as np
import pytest
import torch

from mmagic_adm.engine.sample_shards import Shard
from mmagic_adm.evaluation.metrics.base import FeatureMetric
from mmagic_adm.files.npz import write_batch
from mmagic_adm.models import batch
from mmagic_adm.registry import METRICS
from tests.evaluation.tiny import TinyFeatures, blocky_images
from tests.schedulers.moves import Moves, Reads
from tests.schedulers.test_no_waits import Generator, registered
from tests.tiny import CLASSIFIER, build_model

# A file, and why it reads.
REASONS = {
    'batch.py': "labels are drawn by the samples' generators, and are class numbers to the host",
    'runner_data.py': 'data samples name their classes to the host',
    'sample_shards.py': 'images go to disk',
    'accuracy.py': 'ranks are counted in whole numbers',
    'kept.py': 'the features of all samples would fill a GPU',
    'score.py': 'each split has sums of its own, by the numbers of the samples',
}


def test_to_make_a_batch_reads_labels_and_images_and_nothing_in_a_step(monkeypatch):
    monkeypatch.setattr(batch, '_seeded', lambda seed, device: Generator())
    model = build_model(classifier=CLASSIFIER, use_fp16=False).to('meta')
    found = []
    for steps in (2, 4):
        request = dict(seed=(0, 1, 2), label=(None,) * 3, index=(0, 1, 2))
        request['sample_kwargs'] = dict(num_inference_steps=steps)
        with Reads() as reads:
            Shard.of(model.test_step(dict(inputs=request)))
        found.append(reads.files)
    assert found[0] == found[1]
    assert found[0] == {'batch.py': 1, 'runner_data.py': 1, 'sample_shards.py': 1}
    assert set(found[0]) <= set(REASONS)


@pytest.mark.parametrize('kind', registered(METRICS, FeatureMetric).values())
def test_a_metric_reads_once_a_batch_if_at_all(kind, tmp_path):
    images = blocky_images(6)
    write_batch(tmp_path / 'real.npz', [images], 6, dict(arr_1=np.arange(6)))
    network = TinyFeatures(8).to('meta')
    own = (
        {}
        if kind.__name__ in ('InceptionScore', 'ClassifierAccuracy')
        else dict(reference=tmp_path / 'real.npz')
    )
    metric = kind(**own, features=network)
    made = [
        dict(fake_img=image, index=i, gt_label=dict(label=i))
        for i, image in enumerate(torch.empty(4, 3, 8, 8, dtype=torch.uint8, device='meta'))
    ]
    with Reads() as reads, Moves() as moves:
        metric.process(None, made)
    assert reads.files.total() <= 1
    assert set(reads.files) <= set(REASONS)
    assert reads.files.total() == 0 or kind.name not in ('fid', 'sfid', 'fd_dinov2')
    assert not moves.places
