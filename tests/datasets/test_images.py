"""Data sets of images on disk."""

import io
import pickle
import sys

import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmagic_adm.datasets.images import LSUN, ImageFolder, NpzImages
from mmagic_adm.datasets.transforms import CenterSquare, PackTrainingImage, ReadImage
from mmagic_adm.files.whole import CheckpointError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
PIPELINE = [ReadImage(), CenterSquare(4), PackTrainingImage()]


@pytest.fixture
def make_folder(tmp_path):
    def make(*files):
        for value, file in enumerate(files):
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (20, 16), (value, value, value)).save(path)
        return str(tmp_path)

    return make


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr('mmagic_adm.datasets.images.print_log', lambda text, *_: said.append(text))
    return said


def test_classes_are_the_subfolders_in_order_of_name(make_folder):
    root = make_folder('cat/2.png', 'ant/deep/er.jpg', 'cat/1.PNG', 'bee/x.webp')
    dataset = ImageFolder(root)
    found = {dataset[i]['gt_path'].removeprefix(root): dataset[i]['gt_label'] for i in range(4)}
    assert found == {'/ant/deep/er.jpg': 0, '/bee/x.webp': 1, '/cat/1.PNG': 2, '/cat/2.png': 2}
    assert dataset.metainfo['classes'] == ('ant', 'bee', 'cat')


def test_classes_may_be_the_first_part_of_the_file_name(make_folder):
    dataset = ImageFolder(
        make_folder('dog_7.png', 'sub/ant_1_2.png', 'dog_3.png'), label_from='file_name'
    )
    assert dataset.metainfo['classes'] == ('ant', 'dog')
    assert sorted(dataset[i]['gt_label'] for i in range(3)) == [0, 1, 1]


def test_images_may_have_no_class(make_folder):
    dataset = ImageFolder(make_folder('a.png', 'b/c.png'), label_from='nothing')
    assert len(dataset) == 2
    assert 'gt_label' not in dataset[0]


def test_an_image_arrives_at_the_model_as_a_tensor_with_its_label(make_folder):
    pipeline = [ReadImage(), CenterSquare(8), PackTrainingImage()]
    item = ImageFolder(make_folder('ant/0.png', 'bee/0.png'), pipeline=pipeline)[1]
    assert item['inputs'].shape == (3, 8, 8)
    assert item['inputs'].unique().tolist() == [1]
    assert item['data_samples'].gt_label.label.tolist() == [1]


def test_it_is_found_by_its_name_in_a_config(make_folder):
    names = [
        dict(type='ReadImage'),
        dict(type='RandomSquare', size=8),
        dict(type='RandomMirror'),
    ]
    config = dict(
        type='TrainingStream',
        _scope_='mmagic_adm',
        dataset=dict(type='ImageFolder', data_root=make_folder('a/0.png'), pipeline=names),
    )
    assert np.asarray(DATASETS.build(config)[5]['img']).shape == (8, 8, 3)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'there is no folder .*nowhere'):
        ImageFolder(str(tmp_path / 'nowhere'))


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(FileNotFoundError, match=r'no images in .*: 1 files, none ending in \.bmp'):
        ImageFolder(str(tmp_path))


def test_an_image_outside_of_all_class_folders_is_refused(make_folder):
    with pytest.raises(ValueError, match=r"stray\.png lies in .*give label_from='file_name'"):
        ImageFolder(make_folder('ant/0.png', 'stray.png'))


def test_a_single_class_is_worth_a_warning(make_folder, warnings):
    ImageFolder(make_folder('all/0.png', 'all/1.png'))
    assert "of one class, 'all'" in warnings[0]


def saved(tmp_path, **arrays):
    path = str(tmp_path / 'images.npz')
    np.savez(path, **arrays)
    return path


def test_images_and_labels_are_those_of_the_file(tmp_path):
    dataset = NpzImages(saved(tmp_path, arr_0=IMAGES, arr_1=np.array([3, 1, 2, 0, 1])))
    assert len(dataset) == 5
    np.testing.assert_array_equal(np.stack([dataset[i]['img'] for i in range(5)]), IMAGES)
    assert [dataset[i]['gt_label'] for i in range(5)] == [3, 1, 2, 0, 1]
    assert dataset[2]['gt_path'].endswith('images.npz[2]')


def test_labels_may_be_missing(tmp_path):
    assert 'gt_label' not in NpzImages(saved(tmp_path, arr_0=IMAGES))[0]


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(other=IMAGES), r"images\.npz holds no images: .*'arr_0'.*has other"),
        (dict(arr_0=IMAGES / 255), 'arr_0 is float64, but images in a batch are uint8'),
        (
            dict(arr_0=IMAGES.transpose(0, 3, 1, 2)),
            r'shape \(5, 3, 4, 4\), but images are',
        ),
        (dict(arr_0=IMAGES[:0]), 'has no images'),
        (dict(arr_0=IMAGES, arr_1=np.arange(4)), 'holds 5 images but 4 labels'),
        (dict(arr_0=np.array([{}])), 'arr_0 is object'),
    ],
)
def test_a_file_in_another_format_is_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        NpzImages(saved(tmp_path, **arrays))


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / 'images.npz'
    path.write_bytes(b'PK no zip')
    with pytest.raises(CheckpointError, match=r'images\.npz is truncated or damaged'):
        NpzImages(str(path))


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
