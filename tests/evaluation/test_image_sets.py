import io
import subprocess

import numpy as np
import pytest
from PIL import Image

from mmagic_adm.apis.sample_folder import SampleFolder
from mmagic_adm.evaluation import Resize, open_images, write_batch
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


@pytest.mark.parametrize('image', [blocky_images(4)[..., :1], blocky_images(4)[..., :1] > 127])
def test_grey_images_are_rgb_in_a_batch_and_in_a_folder(image, tmp_path):
    grey = image if image.dtype == np.uint8 else image.astype(np.uint8) * 255
    np.savez(tmp_path / 'batch.npz', grey)
    for i, each in enumerate(image[..., 0]):
        write_png(tmp_path / 'folder' / f'{i}.png', each)
    for source in ('batch.npz', 'folder'):
        seen = all_images(open_images(tmp_path / source))
        np.testing.assert_array_equal(seen, grey.repeat(3, axis=-1))


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / '._0.png').write_bytes(b'what a file manager leaves')
    with pytest.raises(FileNotFoundError, match=r'no images in .*: 1 files, none ending in \.bmp'):
        open_images(tmp_path)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'does not exist; give an \.npz batch or a folder'):
        open_images(tmp_path / 'nothing.npz')


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (blocky_images(1)[0, ..., 0].astype(np.uint16), 'b.png is of mode I;16'),
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


def test_a_folders_stamp_changes_with_its_files(tmp_path):
    write_png(tmp_path / 'a.png', blocky_images(1)[0])
    before = open_images(tmp_path).stamp()
    assert open_images(tmp_path).stamp() == before
    write_png(tmp_path / 'b.png', blocky_images(1, seed=1)[0])
    with_another = open_images(tmp_path).stamp()
    (tmp_path / 'b.png').rename(tmp_path / 'c.png')
    assert len({before, with_another, open_images(tmp_path).stamp()}) == 3


def test_images_are_resized_when_asked_by_the_filter_that_is_named(tmp_path):
    images = [blocky_images(1)[0], blocky_images(1, seed=1, size=16)[0]]
    for name, image in zip('ab', images, strict=True):
        write_png(tmp_path / f'{name}.png', image)
    with pytest.raises(ValueError, match=r'b.png is 16x16 .* resized to one \(--resize\)'):
        open_images(tmp_path)
    resized = open_images(tmp_path, Resize(8, 'lanczos'))
    first, second = all_images(resized)
    np.testing.assert_array_equal(first, images[0])  # it has the size
    expected = Image.fromarray(images[1]).resize((8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(second, expected)
    assert resized.size == (8, 8)
    assert str(resized.resize) == 'to 8x8 by lanczos (Pillow, antialiased)'
    with pytest.raises(
        ValueError, match='one of bicubic, lanczos, bilinear, box, not to 8 by magic'
    ):
        Resize(8, 'magic')


def test_a_folder_that_sample_filled_has_its_images_and_labels_and_nothing_else(tmp_path):
    folder = SampleFolder(tmp_path / 'out', {})
    images = blocky_images(3)[..., 0]
    for i, image in enumerate(images):
        folder.save(i, Image.fromarray(image), seed=i, label=i)
    folder.finish(3)
    opened = open_images(tmp_path / 'out')
    np.testing.assert_array_equal(all_images(opened)[..., 0], images)
    assert opened.labels == [0, 1, 2]


def test_a_data_set_gives_what_its_pipeline_leaves_the_same_every_time(tmp_path):
    images = blocky_images(6, size=16)
    for i, image in enumerate(images):
        write_png(tmp_path / f'{"ab"[i % 2]}' / f'{i}.png', image)
    pipeline = [dict(type=kind) for kind in ('ReadImage', 'RandomMirror', 'PackTrainingImage')]
    for step in pipeline:
        step['_scope_'] = 'mmagic_adm'
    config = dict(type='ImageFolder', data_root=str(tmp_path), pipeline=pipeline)
    opened = open_images(config)
    seen = all_images(opened)
    np.testing.assert_array_equal(seen, all_images(open_images(config)))
    assert (opened.count, opened.size, opened.labels) == (6, (16, 16), [0, 0, 0, 1, 1, 1])
    ordered = images[[0, 2, 4, 1, 3, 5]]
    is_mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(seen, ordered, strict=True)]
    is_same = [np.array_equal(a, b) for a, b in zip(seen, ordered, strict=True)]
    assert [a != b for a, b in zip(is_mirrored, is_same, strict=True)] == [True] * 6
    assert any(is_mirrored)
    assert any(is_same)
    before = opened.stamp()
    (tmp_path / 'a' / '0.png').touch()
    assert open_images(config).stamp() != before


def test_a_database_is_a_set_of_images(tmp_path):
    lmdb = pytest.importorskip('lmdb')
    images = blocky_images(3)
    database = lmdb.open(str(tmp_path / 'db'), map_size=1 << 20)
    with database, database.begin(write=True) as transaction:
        for i, image in enumerate(images):
            content = io.BytesIO()
            Image.fromarray(image).save(content, format='PNG')
            transaction.put(f'{i}'.encode(), content.getvalue())
    np.testing.assert_array_equal(all_images(open_images(tmp_path / 'db')), images)


def test_images_of_another_size_are_not_compared():
    with pytest.raises(ValueError, match=r'samples are 64x64, but ref.npz is of 256x256 images'):
        check_same_size((64, 64), (256, 256), 'samples', 'ref.npz')
