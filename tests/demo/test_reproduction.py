"""What is copied makes what was seen."""

import shlex

import numpy as np
import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.making import make
from mmagic_adm.demo.reproduction import as_command, as_python
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.files.pictures import as_array
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


QUICK = 'in_an_interval', 'by_another_number', 'by_a_rule'


@pytest.fixture(
    params=[
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ORDERS
    ]
)
def asked(request):
    return ORDERS[request.param]


def pixels(made):
    return as_array([picture for samples in made.rounds for picture in samples.images])


def seen(shelf, asked):
    return make(shelf, asked, lambda *_, **__: None)


def run_python(text):
    names = {}
    exec(compile(text, 'copied', 'exec'), names)
    return names


def run_command(text, folder):
    program, *words = shlex.split(text.replace('\\\n', ' '))
    assert program == 'mmagic-adm'
    succeed(*words)
    with np.load(folder / 'samples.npz') as file:
        return file['arr_0'], file['arr_1']


def test_python_and_the_command_make_the_same_pixels(shelf, asked, tmp_path):
    made = seen(shelf, asked)
    samples = run_python(as_python(asked, 'cpu'))['samples']
    assert np.array_equal(samples.pixels, pixels(made))
    folder = tmp_path / 'out'
    images, labels = run_command(as_command(asked, str(folder), 'cpu'), folder)
    assert np.array_equal(images, pixels(made))
    assert labels.tolist() == made.rounds[0].labels.tolist()


@pytest.mark.slow
def test_weights_of_ones_own_are_named(shelf, tmp_path):
    asked = order(
        model='adm_ddim25_digits-16x16',
        method='none',
        weights='bundled://digits-16x16_unet.safetensors',
    )
    made = seen(shelf, asked)
    assert np.array_equal(run_python(as_python(asked))['samples'].pixels, pixels(made))
    images, _ = run_command(as_command(asked, str(tmp_path / 'out')), tmp_path / 'out')
    assert np.array_equal(images, pixels(made))


@pytest.mark.slow
def test_a_sweep_is_repeated_at_every_scale(shelf, tmp_path):
    asked = order(interval='500-1000', scales=(0, 0.5, 4))
    expected = pixels(seen(shelf, asked)).reshape(3, 2, 16, 16, 1)
    sweep = run_python(as_python(asked, 'cpu'))['sweep']
    for scale, wanted in zip(asked.scales, expected, strict=True):
        assert np.array_equal(sweep[scale].pixels, wanted)

    first, *body, last, _ = as_command(asked, str(tmp_path), 'cpu').split('\n')
    assert (first, last) == ('for scale in 0 0.5 4; do', 'done')
    for scale, wanted in zip(asked.scales, expected, strict=True):
        text = '\n'.join(body).replace('$scale', str(scale))
        images, _ = run_command(text, tmp_path / f'scale-{scale}')
        assert np.array_equal(images, wanted)


@pytest.mark.slow
def test_a_trajectory_is_repeated(shelf, tmp_path):
    asked = order(classes=[3], scheduler='ddpm', steps=5, every=2)
    made = seen(shelf, asked)
    samples = run_python(as_python(asked, 'cpu'))['samples']
    assert np.array_equal(samples.pixels, pixels(made))
    assert np.array_equal(samples.trajectory['pred_x0'], made.rounds[0].trajectory['pred_x0'])
    folder = tmp_path / 'out'
    images, _ = run_command(as_command(asked, str(folder), 'cpu'), folder)
    assert np.array_equal(images, pixels(made))
    assert (folder / '000000_trajectory.gif').is_file()


def test_classes_with_names_are_named():
    text = as_python(order(model='adm-g_ddim25_8xb32_imagenet-64x64', classes=[207, 333]))
    assert '\n# golden retriever, hamster\n' in text
    assert 'device' not in text
    compile(text, 'copied', 'exec')


def test_lines_are_short():
    for asked in ORDERS.values():
        assert max(map(len, as_command(asked, 'out', 'cpu').split('\n'))) <= 88
        assert max(map(len, as_python(asked, 'cpu').split('\n'))) <= 100
