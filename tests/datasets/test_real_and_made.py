"""Real and made images, as many of both, with what they are to show."""

import numpy as np
import pytest

from mmagic_adm.datasets import TrainingStream

PACK = [dict(type='PackTrainingImage')]


@pytest.fixture
def stream(tmp_path):
    """Three made images, black ones, and five real ones, white."""
    for name, count, value in (('made', 3, 0), ('real', 5, 255)):
        images = np.full((count, 4, 4, 1), value, dtype=np.uint8)
        np.savez(tmp_path / f'{name}.npz', arr_0=images, arr_1=np.arange(count))
    parts = {
        name: dict(type='NpzImages', ann_file=str(tmp_path / f'{name}.npz'), pipeline=PACK)
        for name in ('made', 'real')
    }
    return TrainingStream(dict(type='RealAndMade', _scope_='mmagic_adm', **parts))


def test_there_are_as_many_of_both_and_their_labels_say_which_is_which(stream):
    items = [stream[place] for place in range(len(stream))]
    kinds = [int(item['data_samples'].gt_label.label) for item in items]
    assert sorted(kinds) == [0] * 5 + [1] * 5
    shades = [int(item['inputs'].unique()) for item in items]
    assert shades == [255 * kind for kind in kinds]


def test_every_image_is_seen_and_says_what_it_is_to_show(stream):
    items = [stream[place]['data_samples'] for place in range(len(stream))]
    seen = {(int(item.gt_label.label), int(item.shown)) for item in items}
    assert seen == {(0, k) for k in range(3)} | {(1, k) for k in range(5)}
