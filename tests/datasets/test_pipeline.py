import numpy as np
import pytest
import torch
from PIL import Image

from mmagic_adm.datasets.pipeline import PackTrainingImage, ReadImage, UnreadableImageError

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmagic_adm.datasets.pipeline.print_log', lambda text, *_: said.append(text)
    )
    return said


def read(tmp_path, image, mode='RGB', reader=None):
    path = str(tmp_path / 'image.png')
    image.save(path)
    return (reader or ReadImage(mode))(dict(gt_path=path))['img']


def test_a_colour_image_is_read_as_it_is(tmp_path, warnings):
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(RGB)), RGB)
    assert not warnings


def test_a_grey_image_becomes_colour_and_is_reported_once(tmp_path, warnings):
    reader = ReadImage()
    grey = Image.fromarray(RGB[..., 0])
    for _ in range(3):
        image = read(tmp_path, grey, reader=reader)
    np.testing.assert_array_equal(image, np.repeat(RGB[..., :1], 3, axis=2))
    assert len(warnings) == 1
    assert 'image.png is of mode L: converted to RGB' in warnings[0]


def test_a_transparent_image_loses_its_transparency(tmp_path, warnings):
    rgba = np.dstack([RGB, np.full((6, 5), 128, np.uint8)])
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(rgba)), RGB)
    assert 'transparency lost' in warnings[0]


def test_a_palette_gives_its_colours(tmp_path, warnings):
    palette = Image.fromarray(RGB).quantize(256)
    np.testing.assert_array_equal(read(tmp_path, palette), np.asarray(palette.convert('RGB')))
    assert 'mode P' in warnings[0]


def test_a_16_bit_image_is_scaled_to_8(tmp_path, warnings):
    deep = RGB[..., 0].astype(np.uint16) * 257
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(deep), 'L'), RGB[..., :1])


def test_bytes_are_read_like_a_file(tmp_path):
    path = tmp_path / 'image.png'
    Image.fromarray(RGB).save(path)
    results = ReadImage()(dict(gt_path='database:key', encoded=path.read_bytes()))
    np.testing.assert_array_equal(results['img'], RGB)


@pytest.mark.parametrize('damage', ['truncated', 'text', 'empty', 'missing'])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / 'image.png'
    Image.fromarray(RGB).resize((50, 50)).save(path)
    if damage == 'truncated':
        path.write_bytes(path.read_bytes()[:200])
    elif damage == 'missing':
        path.unlink()
    else:
        path.write_text('no image' if damage == 'text' else '')
    with pytest.raises(UnreadableImageError, match=r'image\.png'):
        ReadImage()(dict(gt_path=str(path)))


class TestPackTrainingImage:
    def test_pixels_keep_their_place(self):
        image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        packed = PackTrainingImage()(dict(img=image[:, ::-1], gt_label=7))
        np.testing.assert_array_equal(packed['inputs'].numpy(), image[:, ::-1].transpose(2, 0, 1))
        assert packed['inputs'].dtype == torch.uint8
        assert packed['data_samples'].gt_label.label.tolist() == [7]

    def test_without_a_class_there_is_no_label(self):
        packed = PackTrainingImage()(dict(img=np.zeros((2, 2, 1), np.uint8)))
        assert 'gt_label' not in packed['data_samples']
