"""Samples as pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmagic_adm.files.pictures import (
    as_array,
    as_images,
    as_pictures,
    contact_sheet,
    write_picture,
)


def test_colours_are_quantised_as_published():
    samples = torch.tensor([-1.0, 0.0, 1.0, 2.0]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    values = [picture.getpixel((0, 0)) for picture in as_pictures(samples)]
    assert values == [(0, 0, 0), (127, 127, 127), (255, 255, 255), (255, 255, 255)]


def test_one_channel_is_grey():
    (picture,) = as_pictures(torch.zeros(1, 1, 4, 4))
    assert picture.mode == 'L'


def test_a_sheet_shows_every_pixel_of_every_picture():
    colours = ['red', 'green', 'blue', 'black', 'gray']
    pictures = [Image.new('RGB', (8, 8), colour) for colour in colours]
    sheet = np.asarray(contact_sheet(pictures, columns=3))
    for picture in pictures:
        shown = (sheet == np.asarray(picture)[0, 0]).all(axis=-1).sum()
        assert shown == 64 * 64


def test_captions_stand_below():
    pictures = [Image.new('RGB', (64, 64), 'red')]
    with_caption, without = contact_sheet(pictures, ['hamster']), contact_sheet(pictures)
    assert with_caption.height > without.height
    below = np.asarray(with_caption)[without.height :]
    assert below.min() < 100


def test_whole_numbers_are_shown_as_they_are():
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert [picture.getpixel((1, 1))[0] for picture in as_pictures(images)] == [0, 1, 2, 3]
    assert np.array_equal(as_array(as_pictures(images)), images.permute(0, 2, 3, 1))


def test_other_numbers_are_no_images():
    with pytest.raises(ValueError, match=r'are uint8 in .*, not torch.int64'):
        as_images(torch.zeros(1, 3, 2, 2, dtype=torch.long))


def test_a_sheet_is_about_square_and_its_pictures_apart():
    sheet = contact_sheet([Image.new('L', (64, 64), shade) for shade in range(9)])
    assert sheet.size == (3 * 66 + 2, 3 * 66 + 2)
    assert {value for _, value in sheet.convert('L').getcolors()} == {*range(9), 255}


def test_a_picture_is_written_as_png_unless_told_otherwise(tmp_path):
    picture = Image.new('RGB', (8, 8), 'red')
    write_picture(tmp_path / 'a.png', picture)
    write_picture(tmp_path / 'a.gif', picture, format='GIF')
    assert Image.open(tmp_path / 'a.png').format == 'PNG'
    assert Image.open(tmp_path / 'a.gif').format == 'GIF'
    assert len(list(tmp_path.iterdir())) == 2


def test_a_long_caption_stays_under_its_own_picture():
    black = [Image.new('L', (64, 64))] * 2
    alone, beside = (np.asarray(contact_sheet(black, [text, ''], 2)) for text in ('W', 'W' * 40))
    assert (alone != beside).any()
    assert np.array_equal(alone[:, -66:], beside[:, -66:])
