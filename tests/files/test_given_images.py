"""Images in the forms in which people have them."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmagic_adm.files.given_images import given_images
from mmagic_adm.files.npz import write_batch

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
EXPECTED = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f'{i}.png')
    write_batch(tmp_path / 'images.npz', [PIXELS], 2)
    return tmp_path


@pytest.mark.parametrize(
    'form',
    [
        lambda files: PIXELS,
        lambda files: torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
        lambda files: EXPECTED,
        lambda files: [Image.fromarray(PIXELS[0]), PIXELS[1]],
        lambda files: files / 'images',
        lambda files: str(files / 'images.npz'),
        lambda files: sorted((files / 'images').iterdir()),
    ],
)
def test_they_are_one_tensor(files, form):
    torch.testing.assert_close(given_images(form(files), 'images'), EXPECTED, atol=1e-6, rtol=0)


def test_a_picture_is_grey_for_a_grey_model(files):
    grey = given_images(files / 'images' / '0.png', 'images', 'L')
    assert grey.shape == (1, 1, 4, 6)
    assert torch.equal(grey, given_images(Image.fromarray(PIXELS[0]).convert('L'), 'images', 'L'))
    assert given_images(PIXELS[0, ..., 0], 'images', 'L').shape == (1, 1, 4, 6)
