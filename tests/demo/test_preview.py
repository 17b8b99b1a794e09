"""What is shown of samples, done and in the making."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.making import Progress, Sampled
from mmagic_adm.demo.preview import caption, enlarged, progress_html, stacked, status_html

PICTURE = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


def test_every_pixel_of_a_small_picture_becomes_a_square():
    pixels = np.asarray(enlarged(PICTURE))
    assert np.array_equal(pixels, np.kron(np.asarray(PICTURE), np.ones((16, 16))))


def test_a_large_picture_stays_as_it_is():
    large = Image.new('RGB', (256, 256))
    assert enlarged(large) is large


def test_captions_say_seed_class_and_confidence():
    sample = Sampled(PICTURE, seed=5, label=1, confidence=0.973, scale=2.5)
    assert caption(sample, ('cat', 'hen')) == 'seed 5 · hen · 97%'
    assert caption(sample, '01') == 'seed 5 · class 1 · 97%'
    assert caption(sample, ('cat', 'hen'), with_scale=True) == 'scale 2.5 · hen · 97%'
    assert caption(Sampled(PICTURE, 5, None, None, None), ()) == 'seed 5'


def test_a_preview_shows_what_is_done_what_is_predicted_and_what_is_missing():
    done = [Sampled(PICTURE, 0, 1, None, None)] * 2
    html = progress_html(Progress('Step 1', 0.25, done, torch.zeros(3, 1, 16, 16), total=8))
    assert html.count('<img') == 5
    assert html.count('<span>') == 3
    assert 'width: 25.0%' in html
    assert 'data:image/png' in html


def test_a_preview_of_large_pictures_is_light():
    noise = torch.rand(1, 3, 256, 256) * 2 - 1
    html = progress_html(Progress('Step 1', 0.5, [], noise, total=1))
    assert 'data:image/jpeg' in html
    assert len(html) < 256 * 256 * 3


def test_text_is_text():
    assert '<b>' not in status_html('<b>bold</b>')
    assert '<b>' not in progress_html(Progress('<b>bold</b>'))


def test_pictures_are_stacked_with_a_gap_to_see_through():
    both = np.asarray(stacked(enlarged(PICTURE), enlarged(PICTURE)))
    assert both.shape == (256 + 8 + 256, 256, 4)
    assert (both[256:264, :, 3] == 0).all()
