"""What becomes of an image on its way to the model."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmagic_adm.datasets.transforms import (
    CenterSquare,
    PackTrainingImage,
    RandomAffine,
    RandomGrain,
    RandomMirror,
    RandomSquare,
    ReadImage,
    shrink,
)
from mmagic_adm.files.pictures import UnreadableImageError

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmagic_adm.datasets.transforms.print_log', lambda text, *_: said.append(text)
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


def photo(height, width, channels=3):
    """A smooth image, so that resizing changes little."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [127 + 100 * np.sin(6 * x + c) * np.cos(5 * y) for c in range(channels)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def transformed(image, transform, seed=0):
    return transform(dict(img=image, rng=np.random.default_rng(seed)))['img']


def test_a_crop_of_the_right_size_is_the_image_itself():
    image = photo(64, 64)
    np.testing.assert_array_equal(transformed(image, CenterSquare(64)), image)


def test_large_images_are_halved_by_averaging_before_the_cubic():
    image = np.random.default_rng(0).integers(0, 256, (70, 130, 3), dtype=np.uint8)
    pil = Image.fromarray(image)
    pil = pil.resize((65, 35), Image.Resampling.BOX)  # 70 >= 2 * 20, 35 is not
    pil = pil.resize((37, 20), Image.Resampling.BICUBIC)  # 65 * 20 / 35 = 37.1
    np.testing.assert_array_equal(shrink(image, 20), np.asarray(pil))


def test_an_image_of_twice_the_size_is_averaged_and_nothing_else():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    means = image.reshape(16, 2, 16, 2, 1).mean(axis=(1, 3))
    assert (
        np.abs(transformed(image, CenterSquare(16)) - means).max() <= 1
    )  # Rounded along each axis.


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(('height', 'width'), [(40, 90), (90, 40), (64, 65)])
def test_the_center_crop_is_the_middle(height, width, channels):
    image = photo(height, width, channels)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    crop = transformed(image, CenterSquare(32))
    assert crop.shape == (32, 32, channels)
    expected = shrink(square, 32).astype(float)
    assert np.abs(crop - expected).mean() < 4


def test_random_crops_lie_within_their_limits_and_follow_their_generator():
    image = photo(64, 64)
    image[..., 0] = np.arange(64)[:, None] * 3  # What stands at the top and the bottom says where.
    image[..., 1] = np.arange(64) * 3
    heights = []
    for seed in range(200):
        crop = transformed(image, RandomSquare(32), seed).astype(float)
        assert crop.shape == (32, 32, 3)
        heights.append((crop[-1, :, 0].mean() - crop[0, :, 0].mean()) / 3 * 32 / 31)
    assert 64 * 0.8 - 2 < min(heights) < 64 * 0.84
    assert 64 * 0.96 < max(heights) < 64 + 2
    again = [transformed(image, RandomSquare(32), seed=7) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_a_whole_image_may_be_a_random_crop():
    crop = transformed(photo(16, 16), RandomSquare(16, min_fraction=1.0))
    np.testing.assert_array_equal(crop, photo(16, 16))


def test_a_small_image_is_enlarged_with_a_warning_once(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmagic_adm.datasets.transforms.print_log', lambda text, *_: said.append(text)
    )
    crop = CenterSquare(32)
    for name in ('a.png', 'b.png'):
        assert crop(dict(img=photo(20, 40), gt_path=name))['img'].shape == (32, 32, 3)
    assert len(said) == 1
    assert said[0].startswith('a.png is 40x20, smaller than the crop of 32x32')


@pytest.mark.parametrize('fractions', [(0.0, 1.0), (0.9, 0.8), (0.5, 1.5)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match='fractions of a side go from above 0 to 1'):
        RandomSquare(16, *fractions)


def test_mirroring_happens_every_other_time():
    image = photo(4, 4)
    rng = np.random.default_rng(0)
    results = [RandomMirror()(dict(img=image, rng=rng))['img'] for _ in range(400)]
    mirrored = sum(np.array_equal(result, image[:, ::-1]) for result in results)
    assert mirrored + sum(np.array_equal(result, image) for result in results) == 400
    assert 160 < mirrored < 240


class TestDistortions:
    """They keep an image what it is, and draw from the item's own numbers."""

    @pytest.fixture
    def image(self):
        image = np.zeros((16, 16, 2), np.uint8)
        image[4:12, 6:10] = 200
        return image

    def test_nothing_asked_for_changes_nothing(self, image):
        np.testing.assert_array_equal(transformed(image, RandomAffine()), image)
        np.testing.assert_array_equal(transformed(image, RandomGrain(0.0)), image)

    def test_a_quarter_turn_is_a_quarter_turn(self, image):
        class QuarterTurn:
            def normal(self, mean, std, size=None):
                return np.full(size, mean + std) if size else mean + std

        turned = RandomAffine(turn=np.pi / 2)(dict(img=image, rng=QuarterTurn()))['img']
        np.testing.assert_allclose(turned.astype(float), np.rot90(image).astype(float), atol=1)

    @pytest.mark.parametrize('transform', [RandomAffine(0.1, 0.1, 0.1), RandomGrain(20)])
    def test_the_items_own_numbers_decide(self, transform, image):
        first, again, other = (transformed(image, transform, seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
        assert first.shape == image.shape
        assert first.dtype == np.uint8

    def test_a_distorted_image_stays_about_where_it_was(self, image):
        rows, columns = np.indices(image.shape[:2])
        for seed in range(20):
            ink = transformed(image, RandomAffine(0.12, 0.07, 0.12), seed)[..., 0].astype(float)
            assert (rows * ink).sum() / ink.sum() == pytest.approx(7.5, abs=0.3)
            assert (columns * ink).sum() / ink.sum() == pytest.approx(7.5, abs=0.3)


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
