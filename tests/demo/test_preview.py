"""What is shown of samples, done and in the making."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.apis.samples import Samples
from mmagic_adm.demo.making import Made, Progress, verdicts_of
from mmagic_adm.demo.preview import captions_of, progress_html, results_html, status_html
from tests.demo.orders import order

PICTURE = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


def made(verdicts, **changes):
    asked = order(**changes)
    labels = torch.tensor(asked.labels) if asked.labels else None
    samples = Samples(dict(samples=torch.zeros(2, 1, 16, 16), labels=labels, seeds=[5, 6]))
    return Made(asked, [samples], [verdicts], 2, 1.0)


def test_captions_say_seed_class_and_what_a_judge_takes_it_for():
    assert captions_of(made(['judge: class 3 98%', ''])) == [
        ['seed 5 · class 3 · judge: class 3 98%', 'seed 6 · class 7']
    ]
    named = made(['', ''], model='adm-g_ddim25_8xb32_imagenet-64x64', classes=[207, 333])
    assert captions_of(named) == [['seed 5 · golden retriever', 'seed 6 · hamster']]


def test_a_verdict_is_the_judges_and_may_differ_from_what_was_asked_for():
    class Judge:
        def __call__(self, images):
            assert (images.shape, images.dtype) == ((2, 3, 16, 16), torch.uint8)
            return dict(logits=torch.tensor([[5.0, 0, 0], [0, 0, 1]]))

    images = torch.zeros(2, 1, 16, 16)
    assert verdicts_of(Judge(), images, ('face', 'heart', '2')) == [
        'judge: face 99%',
        'judge: class 2 58%',
    ]
    assert verdicts_of(None, images, ('face', 'heart')) == ['', '']


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
    rows = [('the first', [(['gradio_api/file=/a.png'], 'seed 5 · "a"')])]
    html = results_html('1 image', rows, 3)
    assert re.findall('alt="(.*?)"', html) == ['seed 5 · &quot;a&quot;']
    preview = progress_html(Progress('Step 1', 0.5, [PICTURE], torch.zeros(1, 1, 16, 16), 2))
    assert re.findall('alt="(.*?)"', preview) == ['image 1, done', 'image 2']


def test_text_is_text():
    assert '<b>' not in status_html('<b>bold</b>')
    assert '<b>' not in progress_html(Progress('<b>bold</b>'))
    assert '<b>' not in results_html('', [('<b>', [(['a'], '<b>')])], None)
