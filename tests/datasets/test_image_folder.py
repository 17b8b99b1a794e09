import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image

from mmagic_adm.datasets.image_folder import ImageFolder
from mmagic_adm.datasets.pipeline import PackTrainingImage, ReadImage
from mmagic_adm.datasets.transforms import CenterSquare


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
    monkeypatch.setattr(
        'mmagic_adm.datasets.image_folder.print_log', lambda text, *_: said.append(text)
    )
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


def test_more_classes_than_the_model_has_are_refused(make_folder):
    root = make_folder('ant/0.png', 'bee/0.png', 'cat/0.png')
    assert len(ImageFolder(root, num_classes=3)) == 3
    with pytest.raises(ValueError, match=r'3 classes, the model num_classes=2: .* left for cat'):
        ImageFolder(root, num_classes=2)
