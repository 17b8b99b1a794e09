import itertools

import numpy as np
import pytest
from mmagic.datasets import BasicConditionalDataset
from mmengine.dataset import BaseDataset
from PIL import Image
from torch.utils.data import DataLoader

from mmagic_adm.datasets import HandwrittenDigits
from mmagic_adm.datasets.stream import StreamSampler, TrainingStream, check_labels
from mmagic_adm.files.pictures import UnreadableImageError


class Numbers(BaseDataset):
    """Gives its index and a random number; some items are damaged."""

    def __init__(self, count, damaged=()):
        self.count = count
        self.damaged = damaged
        super().__init__(pipeline=[self.read], serialize_data=False)

    def load_data_list(self):
        return [dict(number=i) for i in range(self.count)]

    def read(self, info):
        if info['number'] in self.damaged:
            raise UnreadableImageError(f'{info["number"]}.png cannot be read')
        return info['number'], float(info['rng'].random())


def test_every_round_shows_each_image_once_in_another_order():
    stream = TrainingStream(Numbers(20))
    first = [stream[p][0] for p in range(20)]
    second = [stream[p][0] for p in range(20, 40)]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_an_item_depends_on_seed_and_position_alone():
    stream = TrainingStream(Numbers(20), seed=3)
    forward = [stream[p] for p in range(50)]
    other = TrainingStream(Numbers(20), seed=3)
    backward = [other[p] for p in reversed(range(50))][::-1]
    assert forward == backward
    assert len({number for _, number in forward}) == 50
    another_seed = TrainingStream(Numbers(20), seed=4)
    assert forward != [another_seed[p] for p in range(50)]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_loader_that_starts_later_goes_on_where_another_stopped(num_workers):
    def batches(start, count):
        stream = TrainingStream(Numbers(20))
        loader = DataLoader(
            stream, 4, sampler=StreamSampler(stream, start), num_workers=num_workers
        )
        return [[*map(list, batch)] for batch in itertools.islice(loader, count)]

    whole = [[list(map(float, part)) for part in batch] for batch in batches(0, 9)]
    rest = [[list(map(float, part)) for part in batch] for batch in batches(5 * 4, 4)]
    assert whole[5:] == rest


def test_processes_share_the_stream_out(monkeypatch):
    stream = TrainingStream(Numbers(20))
    dealt = []
    for rank in range(3):
        monkeypatch.setattr('mmagic_adm.datasets.stream.get_dist_info', lambda rank=rank: (rank, 3))
        dealt.append(list(itertools.islice(StreamSampler(stream, start=6), 10)))
    np.testing.assert_array_equal(np.array(dealt).T.ravel(), np.arange(6, 36))


def test_a_damaged_image_is_named_and_replaced(monkeypatch):
    said = []
    monkeypatch.setattr('mmagic_adm.datasets.stream.print_log', lambda text, *_: said.append(text))
    whole = TrainingStream(Numbers(10))
    damaged = TrainingStream(Numbers(10, damaged={7}))
    items = [damaged[p] for p in range(10)]
    assert said == ['7.png cannot be read. Skipped (1 so far)']
    place = next(p for p in range(10) if whole[p][0] == 7)
    assert items[place][0] == whole[place + 1][0]
    assert [item for p, item in enumerate(items) if p != place] == [
        whole[p] for p in range(10) if p != place
    ]


def test_too_many_damaged_images_end_training():
    stream = TrainingStream(Numbers(10, damaged={1, 2, 3}), max_unreadable=2)
    with pytest.raises(UnreadableImageError, match=r'png cannot be read.*3 unreadable.*=2 allows'):
        _ = [stream[position] for position in range(10)]


def test_a_data_set_of_damaged_images_is_no_endless_search():
    stream = TrainingStream(Numbers(3, damaged={0, 1, 2}))
    with pytest.raises(UnreadableImageError, match='none of the 3 images can be read'):
        stream[0]


class Listed(BaseDataset):
    """Entries as they are given, of which no image is read."""

    def __init__(self, *entries):
        self.entries = entries
        super().__init__(serialize_data=False)

    def load_data_list(self):
        return [dict(entry) for entry in self.entries]

    def get_data_info(self, idx):
        raise AssertionError('an image was read')


class TestCheckLabels:
    """A label without a class is found before training starts."""

    def test_the_label_and_its_image_and_the_classes_are_named(self):
        dataset = Listed(dict(gt_path='a.png', gt_label=1), dict(gt_path='b.png', gt_label=2))
        check_labels(dataset, num_classes=3)
        with pytest.raises(ValueError, match=r'b\.png has the label 2.* num_classes=2,.* 0 to 1'):
            check_labels(dataset, num_classes=2)

    def test_a_label_below_zero_is_refused(self):
        with pytest.raises(ValueError, match='image 0 has the label -1'):
            check_labels(Listed(dict(gt_label=-1)), num_classes=2)

    def test_images_without_labels_pass(self):
        check_labels(Listed(dict(gt_path='a.png')), num_classes=2)

    def test_mmagics_data_sets_are_read_too(self, tmp_path):
        for name in ('cat', 'dog', 'eel'):
            (tmp_path / name).mkdir()
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name / '0.png')
        dataset = BasicConditionalDataset(data_root=str(tmp_path), data_prefix='.')
        check_labels(dataset, num_classes=3)
        with pytest.raises(ValueError, match=r'eel/0\.png has the label 2'):
            check_labels(dataset, num_classes=2)

    def test_the_digits_have_ten_classes(self):
        dataset = HandwrittenDigits('held_out')
        check_labels(dataset, num_classes=10)
        with pytest.raises(ValueError, match='has the label 9'):
            check_labels(dataset, num_classes=9)
