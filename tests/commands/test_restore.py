"""``mmagic-adm restore``, as it is called from a shell."""

import numpy as np
import pytest
from PIL import Image

from mmagic_adm.files.npz import read_images
from tests.commands.running import fail, succeed

MODEL = ['--model', 'restore_mmps25_digits-16x16', '--device', 'cpu', '--steps', '4']


@pytest.fixture(scope='module')
def scans(tmp_path_factory):
    """A folder of two scans, and a mask that hides the lower half of images like them."""
    folder = tmp_path_factory.mktemp('scans')
    images, _ = read_images('mmagic_adm/bundled/digits-16x16_held-out.npz')
    for i in range(2):
        Image.fromarray(images[i, :, :, 0]).save(folder / f'{i}.png')
    mask = np.zeros((16, 16), np.uint8)
    mask[:8] = 255
    Image.fromarray(mask).save(folder.parent / 'mask.png')
    return folder, folder.parent / 'mask.png'


def test_a_hole_is_filled_and_the_rest_stays(scans, tmp_path):
    folder, mask = scans
    options = [*MODEL, '--mask', mask, '--method', 'ddnm', '--draws', 2]
    out = tmp_path / 'out'
    said = succeed('restore', folder / '0.png', *options, '--out', out)
    assert said.split() == [str(out / 'samples.npz'), str(out / 'sheet.png')]
    made, _ = read_images(out / 'samples.npz')
    assert made.shape == (2, 16, 16, 1)
    truth = np.asarray(Image.open(folder / '0.png')).astype(int)
    assert abs(made[:, :8, :, 0] - truth[:8]).max() <= 1
    assert (made[0, 8:] != made[1, 8:]).any()
    # The same command finds all there, and another is told so.
    assert succeed('restore', folder / '0.png', *options, '--out', out) == said
    line = fail('restore', folder / '1.png', *options, '--out', out)
    assert 'measured' in line


def test_images_that_are_whole_are_measured_first(scans, tmp_path):
    folder, _ = scans
    options = [
        '--operator',
        'downsampling',
        '--arguments',
        'factor=2',
        '--measure',
        '--labels',
        '3',
    ]
    *_, last = succeed('restore', folder, *MODEL, *options, '--out', tmp_path).splitlines()
    name, value = last.split(': ')
    assert name == 'PSNR'
    assert 15 < float(value) < 45


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--operator', 'downsampling', '--arguments', 'factor=2'],
         'y has shape (1, 1, 16, 16); Downsampling makes (N, 1, 8, 8)'),
        (['--operator', 'downsampling', '--arguments', 'factor=99'],
         'factor of Downsampling is from 2 to 32, not 99'),
        (['--operator', 'jpeg', '--method', 'mmps'], 'MMPS needs an operator with an adjoint'),
        (['--operator', 'box', '--method', 'dps', '--scheduler', 'edm'],
         'which EDMHeunScheduler has no place for'),
        (['--operator', 'box', '--draws', '0'], 'each image is restored, not 0'),
        (['--operator', 'box', '--steps', '0'], 'Cannot read 0'),
        (['--mask', 'no-such.png'], 'there is no file no-such.png'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line_and_nothing_is_written(scans, tmp_path, options, message):
    line = fail('restore', scans[0] / '0.png', *MODEL, *options, '--out', tmp_path / 'out')
    assert message in line
    assert not list(tmp_path.iterdir())
