import subprocess

import numpy as np
import pytest
from PIL import Image

from mmagic_adm.evaluation import open_images, write_batch
from mmagic_adm.evaluation.image_sets import check_same_size
from tests.evaluation.tiny import blocky_images


def write_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def all_images(images, batch_size=4, **share):
    batches = list(images.batches(batch_size, **share))
    return np.concatenate([batch.permute(0, 2, 3, 1).numpy() for batch in batches])


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_a_batch_gives_its_images_in_their_order(save, tmp_path):
    images = blocky_images(10)
    save(tmp_path / 'batch.npz', images, np.arange(10))
    batch = open_images(tmp_path / 'batch.npz')
    assert (batch.count, batch.size) == (10, (8, 8))
    assert [len(piece) for piece in batch.batches(4)] == [4, 4, 2]
    np.testing.assert_array_equal(all_images(batch), images)


def test_a_folder_gives_its_images_in_the_order_of_their_names(tmp_path):
    images = blocky_images(5)
    for name, image in zip(['b/0.png', 'b/1.bmp', 'a.png', 'c.PNG', 'd.png'], images, strict=True):
        write_png(tmp_path / name, image)
    (tmp_path / 'notes.txt').write_text('not an image')
    folder = open_images(tmp_path)
    assert (folder.count, folder.size) == (5, (8, 8))
    np.testing.assert_array_equal(all_images(folder), images[[2, 0, 1, 3, 4]])


def test_processes_shares_make_up_the_whole(tmp_path):
    images = blocky_images(11)
    write_batch(tmp_path / 'batch.npz', [images], 11)
    for i, image in enumerate(images):
        write_png(tmp_path / 'folder' / f'{i:02}.png', image)
    for source in (tmp_path / 'batch.npz', tmp_path / 'folder'):
        shares = [list(open_images(source).batches(2, rank, 3)) for rank in range(3)]
        assert [len(share) for share in shares] == [2, 2, 2]
        in_turn = [shares[i % 3][i // 3] for i in range(6)]
        whole = np.concatenate([piece.permute(0, 2, 3, 1) for piece in in_turn])
        np.testing.assert_array_equal(whole, images)


def test_grey_images_are_refused(tmp_path):
    np.savez(tmp_path / 'batch.npz', blocky_images(4)[..., :1])
    with pytest.raises(ValueError, match=r'grey images, \(4, 8, 8, 1\)'):
        open_images(tmp_path / 'batch.npz')


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'has no images: no file ends in \.bmp'):
        open_images(tmp_path)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'does not exist; give an \.npz batch or a folder'):
        open_images(tmp_path / 'nothing.npz')


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (blocky_images(1)[0, ..., 0], 'b.png is grey'),
        (np.dstack([blocky_images(1)[0], np.full((8, 8), 255, np.uint8)]), 'b.png is of mode RGBA'),
        (blocky_images(1, size=16)[0], r'b.png is 16x16 and .*a.png is 8x8'),
    ],
)
def test_an_image_of_another_kind_is_named(image, message, tmp_path):
    write_png(tmp_path / 'a.png', blocky_images(1)[0])
    write_png(tmp_path / 'b.png', image)
    with pytest.raises(ValueError, match=message):
        open_images(tmp_path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'a.png is no readable image'):
        open_images(tmp_path)


def test_of_many_images_the_truncated_one_is_named(tmp_path):
    for name, image in zip('abc', blocky_images(3, size=64), strict=True):
        write_png(tmp_path / f'{name}.png', image)
    content = (tmp_path / 'b.png').read_bytes()
    (tmp_path / 'b.png').write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r'b\.png is no readable image: .*; make or copy it again'):
        all_images(open_images(tmp_path))


@pytest.mark.parametrize('content', [b'%!PS-Adobe-3.0 EPSF-3.0', b'II*\0' + bytes(50)])
def test_what_is_no_image_of_pixels_is_named_and_given_to_no_program(
    content, tmp_path, monkeypatch
):
    monkeypatch.setattr(subprocess, 'Popen', None)
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.png is no readable image'):
        open_images(tmp_path)


def test_a_thinned_folder_takes_images_evenly(tmp_path):
    for i, image in enumerate(blocky_images(10)):
        write_png(tmp_path / f'{i}.png', image)
    folder = open_images(tmp_path)
    assert [file.stem for file in folder.thinned(4).files] == ['0', '2', '5', '7']
    assert folder.thinned(100).count == 10


def test_a_folders_fingerprint_changes_with_its_files(tmp_path):
    write_png(tmp_path / 'a.png', blocky_images(1)[0])
    before = open_images(tmp_path).fingerprint()
    assert open_images(tmp_path).fingerprint() == before
    write_png(tmp_path / 'b.png', blocky_images(1, seed=1)[0])
    with_another = open_images(tmp_path).fingerprint()
    (tmp_path / 'b.png').rename(tmp_path / 'c.png')
    assert len({before, with_another, open_images(tmp_path).fingerprint()}) == 3


def test_images_of_another_size_are_not_compared():
    with pytest.raises(ValueError, match=r'samples are 64x64, but ref.npz is of 256x256 images'):
        check_same_size((64, 64), (256, 256), 'samples', 'ref.npz')
