"""Figures move the right way where digits are spoilt, as a network sees it that knows digits."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mmagic_adm.evaluation import evaluate
from mmagic_adm.files.download import fetch

JUDGE = dict(
    type='PlainClassifierFeatures',
    classifier=dict(type='PlainClassifier'),
    weights='bundled://digits-16x16_judge.safetensors',
)
METRICS = [
    'fid',
    'prdc',
    dict(type='KernelInceptionDistance', _scope_='mmagic_adm', subsets=10),
    dict(type='CLIPMaximumMeanDiscrepancy', _scope_='mmagic_adm', features=JUDGE),
]


@pytest.fixture(scope='module')
def halves():
    """The bundled scans, and other scans of the same kind."""
    with np.load(fetch('bundled://digits-16x16_held-out.npz')) as file:
        return (file['arr_0'][::2], file['arr_1'][::2]), (file['arr_0'][1::2], file['arr_1'][1::2])


@pytest.fixture(scope='module')
def figures_of(halves, tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits')
    np.savez(folder / 'reference.npz', *halves[0])

    def figures(images):
        np.savez(folder / 'samples.npz', images)
        reference, samples = folder / 'reference.npz', folder / 'samples.npz'
        return evaluate(reference, samples, JUDGE, metrics=METRICS)

    return figures


@pytest.fixture(scope='module')
def fresh(halves, figures_of):
    return figures_of(halves[1][0])


def blurred(images, labels):
    pictures = (Image.fromarray(image[..., 0]) for image in images)
    blur = ImageFilter.GaussianBlur(1.5)
    return np.stack([np.asarray(picture.filter(blur)) for picture in pictures])[..., None]


def noisy(images, labels):
    noise = np.random.default_rng(0).normal(0, 60, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def one_class(images, labels):
    return images[labels == 3].repeat(10, 0)


@pytest.mark.parametrize('spoil', [blurred, noisy, one_class])
def test_spoilt_digits_are_farther_away(spoil, halves, figures_of, fresh):
    figures = figures_of(spoil(*halves[1]))
    for name in ('FID', 'KID', 'CMMD'):
        assert figures[name] > 3 * abs(fresh[name])
    worse = ['Recall', 'Coverage'] if spoil is one_class else ['Precision', 'Coverage']
    for name in worse:
        assert figures[name] < 0.7 * fresh[name], name


def test_a_set_against_itself_is_perfect(halves, figures_of):
    figures = figures_of(halves[0][0])
    assert max(figures['FID'], abs(figures['CMMD'])) < 1e-6
    assert {figures[name] for name in ('Precision', 'Recall', 'Density', 'Coverage')} == {1}
