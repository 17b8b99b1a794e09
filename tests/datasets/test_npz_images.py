import numpy as np
import pytest

from mmagic_adm.datasets.npz_images import NpzImages

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


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
        (dict(arr_0=IMAGES, arr_1=np.arange(5)), 'labels from 0 to 4, the model num_classes=4'),
        (dict(arr_0=np.array([{}])), 'arr_0 is object'),
    ],
)
def test_a_file_in_another_format_is_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        NpzImages(saved(tmp_path, **arrays), num_classes=4)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / 'images.npz'
    path.write_bytes(b'PK no zip')
    with pytest.raises(ValueError, match=r'images\.npz is not an \.npz file, or a damaged one'):
        NpzImages(str(path))
