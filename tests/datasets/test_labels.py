"""A label without a class is found before training starts."""

import numpy as np
import pytest
from mmagic.datasets import BasicConditionalDataset
from mmengine.dataset import BaseDataset
from PIL import Image

from mmagic_adm.datasets import HandwrittenDigits, check_labels


class Listed(BaseDataset):
    """Entries as they are given, of which no image is read."""

    def __init__(self, *entries):
        self.entries = entries
        super().__init__()

    def load_data_list(self):
        return [dict(entry) for entry in self.entries]

    def get_data_info(self, idx):
        raise AssertionError('an image was read')


def test_the_label_and_its_image_and_the_classes_are_named():
    dataset = Listed(dict(gt_path='a.png', gt_label=1), dict(gt_path='b.png', gt_label=2))
    check_labels(dataset, num_classes=3)
    with pytest.raises(ValueError, match=r'b\.png has the label 2.* num_classes=2,.* 0 to 1'):
        check_labels(dataset, num_classes=2)


def test_a_label_below_zero_is_refused():
    with pytest.raises(ValueError, match='image 0 has the label -1'):
        check_labels(Listed(dict(gt_label=-1)), num_classes=2)


def test_images_without_labels_pass():
    check_labels(Listed(dict(gt_path='a.png')), num_classes=2)


def test_mmagics_data_sets_are_read_too(tmp_path):
    for name in ('cat', 'dog', 'eel'):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name / '0.png')
    dataset = BasicConditionalDataset(data_root=str(tmp_path), data_prefix='.')
    check_labels(dataset, num_classes=3)
    with pytest.raises(ValueError, match=r'eel/0\.png has the label 2'):
        check_labels(dataset, num_classes=2)


def test_the_digits_have_ten_classes():
    dataset = HandwrittenDigits('held_out')
    check_labels(dataset, num_classes=10)
    with pytest.raises(ValueError, match='has the label 9'):
        check_labels(dataset, num_classes=9)
