"""A hole is painted into a picture, and filled."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio', reason='the demo needs gradio')

import gradio as gr

from mmagic_adm.demo.background import Stop
from mmagic_adm.demo.hole import HoleTab
from mmagic_adm.demo.outputs import Outputs
from mmagic_adm.demo.runs import Runs
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import read_picture
from tests.demo.orders import DIGITS, captions_in, fields
from tests.demo.test_reproduction import run_command, run_python


@pytest.fixture(scope='module')
def tab():
    with gr.Blocks(), gr.Tabs():
        return HoleTab()


@pytest.fixture
def runs(tmp_path):
    return Runs(Shelf('cpu'), Outputs(tmp_path / 'runs'), models=[DIGITS])


@pytest.fixture
def painted(tmp_path):
    """What the browser sends: a scan, wider than high, with paint over the lower half."""

    def send(paint=slice(128, 256)):
        scan = read_images('mmagic_adm/bundled/digits-16x16_held-out.npz')[0][0, :, :, 0]
        wide = np.pad(scan.repeat(16, 0).repeat(16, 1), ((0, 0), (64, 64)))
        alpha = np.zeros(wide.shape, np.uint8)
        alpha[paint] = 255
        layer = Image.fromarray(np.stack([alpha] * 4, axis=-1))
        Image.fromarray(wide).save(tmp_path / 'background.png')
        layer.save(tmp_path / 'layer.png')
        files = [dict(path=str(tmp_path / f'{name}.png')) for name in ('background', 'layer')]
        return dict(background=files[0], layers=[files[1]], composite=files[0]), scan

    return send


def last(runs, tab, painted, *numbers, draws=2, method='ddnm', **changes):
    shown = [*numbers, *[None] * (len(tab.own) - 3 - len(numbers))]
    asked = painted, draws, method, *shown, *fields(classes=[7, 3], **changes)
    return list(runs.results(tab, Stop(), *asked))[-1]


@pytest.mark.parametrize(
    ('method', 'numbers'),
    [('ddnm', []), pytest.param('dps', [1.5], marks=pytest.mark.slow)],
)
def test_what_is_seen_stays_and_what_is_copied_makes_the_same(
    runs, tab, painted, tmp_path, monkeypatch, method, numbers
):
    sent, scan = painted()
    shown = last(runs, tab, sent, *numbers, method=method)
    captions = captions_in(shown[tab.view])
    assert captions[0] == 'what is known'
    assert [text.rsplit(' · ', 1)[0] for text in captions[1:]] == [
        'seed 5 · class 7',
        'seed 6 · class 7',
    ]
    made, labels = read_images(shown[tab.npz])
    assert labels.tolist() == [7, 7]
    assert (made[0, 8:] != made[1, 8:]).any()
    (folder,) = (tmp_path / 'runs').glob('*_*')
    assert np.array_equal(np.asarray(read_picture(folder / 'picture.png'))[..., 0], scan)
    if method == 'ddnm':
        assert abs(made[:, :8, :, 0].astype(int) - scan[:8]).max() <= 1
    assert np.array_equal(run_python(shown[tab.python])['samples'].pixels, made)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(run_command(shown[tab.command], folder.name)[0], made)


def test_a_picture_is_drawn_to_paint_on(runs, tab):
    inputs = [None] * len(tab.own)
    shown = list(runs.picture(tab, Stop(), *inputs, *fields()))[-1]
    assert shown[tab.editor].width >= 256


@pytest.mark.parametrize(
    ('paint', 'changes', 'message'),
    [
        (None, {}, 'there is no picture yet'),
        (slice(0), {}, 'nothing is painted over'),
        (slice(256), {}, 'all is painted over'),
        (slice(99), dict(draws=0), 'the number of draws is a whole number'),
        (slice(99), dict(method='magic'), 'there is no such method'),
    ],
)
def test_nonsense_is_a_line_on_the_page(runs, tab, painted, paint, changes, message):
    shown = last(runs, tab, paint and painted(paint)[0], **changes)
    assert 'error' in shown[tab.view]
    assert message in shown[tab.view].lower()


def test_a_number_of_a_method_out_of_its_range_is_a_line_on_the_page(runs, tab, painted):
    shown = last(runs, tab, painted()[0], 99, method='mmps')
    assert 'iterations is a whole number from 1 to 50' in shown[tab.view].lower()
