"""What is shown of samples, done and in the making."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.making import Progress
from mmagic_adm.demo.preview import progress_html, results_html, status_html

PICTURE = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


def test_a_preview_shows_what_is_done_what_is_predicted_and_what_is_missing():
    html = progress_html(Progress('Step 1', 0.25, [PICTURE] * 2, torch.zeros(3, 1, 16, 16), 8))
    assert html.count('<img') == 5
    assert html.count('<span>') == 3
    assert 'width: 25.0%' in html
    assert 'data:image/png' in html


def test_a_preview_of_large_pictures_is_light():
    noise = torch.rand(1, 3, 256, 256) * 2 - 1
    html = progress_html(Progress('Step 1', 0.5, [], noise, total=1))
    assert 'data:image/jpeg' in html
    assert len(html) < 256 * 256 * 3


def test_every_picture_has_a_text():
    html = results_html('1 image', [(Path('/a.png'), 'seed 5 · "a"')], '1fr 1fr')
    assert 'src="gradio_api/file=/a.png"' in html
    assert 'grid-template-columns: 1fr 1fr' in html
    assert re.findall('alt="(.*?)"', html) == ['seed 5 · &quot;a&quot;']
    preview = progress_html(Progress('Step 1', 0.5, [PICTURE], torch.zeros(1, 1, 16, 16), 2))
    assert re.findall('alt="(.*?)"', preview) == ['image 1, done', 'image 2']


def test_text_is_text():
    assert '<b>' not in status_html('<b>bold</b>')
    assert '<b>' not in progress_html(Progress('<b>bold</b>'))
    assert '<b>' not in results_html('<b>', [(Path('<b>'), '<b>')], '')
