import numpy as np
import pytest

from mmagic_adm.files.npz import ImagesFile, read_images, write_batch
from mmagic_adm.files.whole import CheckpointError
from tests.evaluation.tiny import blocky_images


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('channels', [1, 3])
def test_images_and_labels_are_those_of_the_file(save, channels, tmp_path):
    images = blocky_images(10)[..., :channels]
    save(tmp_path / 'batch.npz', images, np.arange(10))
    read, labels = read_images(tmp_path / 'batch.npz')
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(labels, np.arange(10))
    pieces = list(ImagesFile(tmp_path / 'batch.npz').pieces(4))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(pieces), images)


def test_labels_may_be_missing(tmp_path):
    write_batch(tmp_path / 'batch.npz', [blocky_images(2)], 2)
    assert read_images(tmp_path / 'batch.npz')[1] is None


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.arange(3), r'batch\.npz holds 4 images but 3 labels'),
        (np.arange(4.0), r'whole numbers, one an image, and is \(4,\) float64'),
        (np.zeros((4, 2), int), r'and is \(4, 2\) int64'),
    ],
)
def test_labels_that_are_none_are_refused(labels, message, tmp_path):
    np.savez(tmp_path / 'batch.npz', blocky_images(4), labels)
    with pytest.raises(ValueError, match=message):
        read_images(tmp_path / 'batch.npz')


def test_what_is_written_in_pieces_numpy_reads_whole(tmp_path):
    images = blocky_images(10)
    labels = np.arange(10)
    write_batch(tmp_path / 'batch.npz', [images[:3], images[3:]], 10, dict(arr_1=labels))
    with np.load(tmp_path / 'batch.npz') as arrays:
        np.testing.assert_array_equal(arrays['arr_0'], images)
        np.testing.assert_array_equal(arrays['arr_1'], labels)


def test_a_batch_that_cannot_be_completed_leaves_nothing_and_replaces_nothing(tmp_path):
    path = tmp_path / 'batch.npz'
    path.write_bytes(b'of before')

    def breaks_off():
        yield blocky_images(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_batch(path, breaks_off(), 10)
    with pytest.raises(CheckpointError, match='3 images came for a batch of 10'):
        write_batch(path, [blocky_images(3)], 10)
    assert path.read_bytes() == b'of before'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (blocky_images(4).astype(np.float32) / 255, 'arr_0 is float32, but images in a batch are'),
        (blocky_images(4)[..., 0], r'shape \(4, 8, 8\), but images are \(N, H, W, C\), C 1 or 3'),
        (blocky_images(4).transpose(0, 3, 1, 2), r'shape \(4, 3, 8, 8\), but images are'),
        (blocky_images(4)[:0], 'has no images'),
        (np.asfortranarray(blocky_images(4)), 'Fortran order'),
    ],
)
def test_other_arrays_are_refused(array, message, tmp_path):
    np.savez(tmp_path / 'batch.npz', array)
    with pytest.raises(ValueError, match=message):
        ImagesFile(tmp_path / 'batch.npz')


def test_a_batch_without_images_says_what_it_has(tmp_path):
    np.savez(tmp_path / 'batch.npz', mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(ValueError, match=r"batch\.npz holds no images: .*'arr_0'.* has mu, sigma"):
        ImagesFile(tmp_path / 'batch.npz')


def test_pickled_objects_are_not_read(tmp_path):
    np.savez(tmp_path / 'batch.npz', np.array([dict(a=1)], dtype=object))
    with pytest.raises(ValueError, match='object'):
        ImagesFile(tmp_path / 'batch.npz')


def test_a_damaged_batch_is_refused(tmp_path):
    path = tmp_path / 'batch.npz'
    write_batch(path, [blocky_images(400)], 400)
    data = bytearray(path.read_bytes())
    data[50_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r'batch\.npz is truncated or damaged'):
        ImagesFile(path)
    path.write_bytes(data[:5000])
    with pytest.raises(CheckpointError, match=r'batch\.npz is truncated or damaged'):
        ImagesFile(path)
