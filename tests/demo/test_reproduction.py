"""What is copied makes what was seen."""

import shlex
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.making import make
from mmagic_adm.demo.reproduction import as_command, as_python
from mmagic_adm.demo.shelf import Shelf
from tests.commands.running import succeed
from tests.demo.orders import order

CFG, PLAIN = 'adm-cfg_ddim25_digits-16x16', 'adm_ddim25_digits-16x16'

ORDERS = dict(
    as_configured=order(),
    many_classes=order(classes=list(range(10)), per_class=2, seed=100),
    own_steps=order(steps=None, classes=[1]),
    in_an_interval=order(interval='0.3-0.9'),
    unguided=order(method='none'),
    by_another_method=order(method='cfg', scale=0.5, interval='200-1000'),
    by_another_number=order(method='sag', scale=1, numbers=[2]),
    by_a_rule=order(method='pixels', scheduler='ddpm'),
    by_another_solver=order(scheduler='dpmsolver++', steps=5),
    of_another_model=order(model=CFG, method='cfg', scale=3),
    of_another_model_in_an_interval=order(model=CFG, method='cfg', interval='100-600'),
    without_its_own_guidance=order(model=CFG, method='none'),
    of_a_model_without_guidance=order(model=PLAIN, method='none'),
)


@pytest.fixture(scope='module')
def shelf():
    return Shelf('cpu')


RUN = Path('runs') / '2026-01-01_12-00-00_0badcafe'
QUICK = 'in_an_interval', 'by_another_number', 'by_a_rule'


@pytest.fixture(
    params=[
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ORDERS
    ]
)
def asked(request):
    return ORDERS[request.param]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def seen(shelf, asked):
    return make(shelf, asked, lambda *_, **__: None).samples


def run_python(text):
    names = {}
    exec(compile(text, 'copied', 'exec'), names)
    return names


def run_command(text, folder):
    program, *words = shlex.split(text)
    assert program == 'mmagic-adm'
    succeed(*words)
    with np.load(Path('outputs') / folder / 'samples.npz') as file:
        return file['arr_0'], file['arr_1']


def test_python_and_the_command_make_the_same_pixels(shelf, asked):
    made = seen(shelf, asked)
    samples = run_python(as_python(asked, RUN, 'cpu'))['samples']
    assert np.array_equal(samples.pixels, made.pixels)
    images, labels = run_command(as_command(asked, RUN, 'cpu'), RUN.name)
    assert np.array_equal(images, made.pixels)
    assert labels.tolist() == made.labels.tolist()


@pytest.mark.slow
def test_weights_of_ones_own_are_named(shelf):
    asked = order(
        model='adm_ddim25_digits-16x16',
        method='none',
        weights='bundled://digits-16x16_unet.safetensors',
    )
    made = seen(shelf, asked)
    assert np.array_equal(run_python(as_python(asked, RUN))['samples'].pixels, made.pixels)
    assert np.array_equal(run_command(as_command(asked, RUN), RUN.name)[0], made.pixels)


def test_python_repeats_a_sweep(shelf):
    asked = order(scales='0, 4')
    repeated = run_python(as_python(asked, RUN, 'cpu'))['samples']
    assert np.array_equal(repeated.pixels, seen(shelf, asked).pixels)
    assert repeated.labels.tolist() == [3, 3, 7, 7]


@pytest.mark.slow
def test_the_command_repeats_a_sweep_at_every_scale(shelf):
    asked = order(interval='500-1000', scales='0, 0.5, 4')
    made = seen(shelf, asked)
    loop, _, body = as_command(asked, RUN, 'cpu').strip().partition('; do ')
    assert loop == 'for scale in 0 0.5 4'
    assert body.endswith('; done')
    for i, scale in enumerate(asked.scales):
        text = body.removesuffix('; done').replace('$scale', str(scale))
        images, _ = run_command(text, Path(RUN.name) / f'scale-{scale}')
        # To rounding, as it is another batch.
        assert abs(images.astype(int) - made.pixels[i::3]).max() <= 1


@pytest.mark.slow
def test_a_trajectory_is_repeated(shelf):
    asked = order(classes=[3], scheduler='ddpm', steps=5, trajectory=2)
    made = seen(shelf, asked)
    samples = run_python(as_python(asked, RUN, 'cpu'))['samples']
    assert np.array_equal(samples.pixels, made.pixels)
    assert np.array_equal(samples.trajectory['pred_x0'], made.trajectory['pred_x0'])
    images, _ = run_command(as_command(asked, RUN, 'cpu'), RUN.name)
    assert np.array_equal(images, made.pixels)
    assert (Path('outputs') / RUN.name / '000000_trajectory.gif').is_file()


def test_classes_with_names_are_named():
    text = as_python(order(model='adm-g_ddim25_8xb32_imagenet-64x64', classes=[207, 333]), RUN)
    assert '\n# golden retriever, hamster\n' in text
    assert 'device' not in text
    compile(text, 'copied', 'exec')


def test_lines_of_python_are_short():
    for asked in ORDERS.values():
        assert max(map(len, as_python(asked, RUN, 'cpu').split('\n'))) <= 100
