import io
import pickle
import sys

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmagic_adm.datasets.lsun import LSUN
from mmagic_adm.datasets.pipeline import PackTrainingImage, ReadImage
from mmagic_adm.datasets.transforms import CenterSquare

PIPELINE = [ReadImage(), CenterSquare(4), PackTrainingImage()]


@pytest.fixture
def database(tmp_path):
    """Ten images, each of one shade."""
    lmdb = pytest.importorskip('lmdb')
    path = str(tmp_path / 'bedroom_train_lmdb')
    with lmdb.open(path) as opened, opened.begin(write=True) as transaction:
        for value in range(10):
            encoded = io.BytesIO()
            Image.new('RGB', (8, 8), (value, value, value)).save(encoded, 'webp', lossless=True)
            transaction.put(f'key{value}'.encode(), encoded.getvalue())
    return path


def test_all_images_are_read(database):
    dataset = LSUN(database, PIPELINE)
    assert len(dataset) == 10
    assert [int(dataset[i]['inputs'].float().mean()) for i in range(10)] == list(range(10))
    assert 'gt_label' not in dataset[0]['data_samples']


def test_workers_read_from_databases_of_their_own(database):
    dataset = LSUN(database, PIPELINE)
    dataset[0]
    loader = DataLoader(dataset, None, num_workers=2)
    assert sorted(int(item['inputs'].max()) for item in loader) == list(range(10))
    assert np.all(pickle.loads(pickle.dumps(dataset))[3]['inputs'].numpy() == 3)


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no database'):
        LSUN(str(tmp_path / 'nowhere'), PIPELINE)


def test_without_lmdb_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lmdb', None)
    with pytest.raises(ImportError, match="lmdb is not installed; pip install 'lmdb'"):
        LSUN(str(tmp_path), PIPELINE)
