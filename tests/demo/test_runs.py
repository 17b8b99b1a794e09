"""From a button to files and pictures, without a browser."""

import re
import threading

import numpy as np
import pytest
from mmengine import Config

pytest.importorskip('gradio', reason='the demo needs gradio')

import gradio as gr

from mmagic_adm.apis import init_model, sample
from mmagic_adm.demo.background import Stop
from mmagic_adm.demo.outputs import Outputs
from mmagic_adm.demo.runs import Runs
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.demo.tabs import SweepTab, Tab, TrajectoryTab
from mmagic_adm.files.pictures import as_array, as_pictures
from tests.demo.orders import DIGITS, captions_in, fields
from tests.tiny import model_config


@pytest.fixture
def runs(tmp_path):
    return Runs(Shelf('cpu'), Outputs(tmp_path), models=[DIGITS, str(tmp_path / 'tiny.py')])


@pytest.fixture(scope='module')
def tabs():
    with gr.Blocks(), gr.Tabs():
        return {kind.place: kind() for kind in (Tab, SweepTab, TrajectoryTab)}


def last(runs, tab, *inputs):
    """What the page shows in the end."""
    return list(runs.results(tab, Stop(), *inputs))[-1]


def images(updates, tab):
    with np.load(updates[tab.npz]) as file:
        return file['arr_0']


def test_samples_come_with_captions_files_and_code(runs, tabs, tmp_path):
    tab = tabs['samples']
    shown = last(runs, tab, *fields())
    captions = captions_in(shown[tab.view])
    assert [text.rsplit(' · ', 1)[0] for text in captions] == [
        'seed 5 · class 3',
        'seed 6 · class 7',
    ]
    assert all(' · judge: class ' in text for text in captions)
    assert images(shown, tab).shape == (2, 16, 16, 1)
    assert str(tmp_path) in shown[tab.npz]
    assert 'init_model' in shown[tab.python]
    assert 'mmagic-adm sample' in shown[tab.command]


def test_a_sweep_has_a_row_for_each_class(runs, tabs):
    tab = tabs['sweep']
    shown = last(runs, tab, '0, 4', *fields(per_class=30))
    captions = [text.rsplit(' · ', 1)[0] for text in captions_in(shown[tab.view])]
    assert captions == [f'scale {scale} · class {label}' for label in (3, 7) for scale in (0, 4)]
    assert 'repeat(2, ' in shown[tab.view]


def test_a_trajectory_has_a_strip_for_each_image(runs, tabs, tmp_path):
    tab = tabs['trajectory']
    shown = last(runs, tab, 2, *fields(steps=5, per_class=2))
    captions = [text.rsplit(' · ', 1)[0] for text in captions_in(shown[tab.view])]
    assert captions == [f'seed {5 + i} · class {(3, 7)[i % 2]}' for i in range(4)]
    strips = [strip.name for strip in sorted(tmp_path.glob('*/*_trajectory.png'))]
    assert re.findall(r'src="[^"]*/([^"/]*)"', shown[tab.view]) == strips


def test_a_trajectory_keeps_about_eight_steps_where_nobody_says(tabs):
    assert tabs['trajectory'].read([None], fields(steps=50)).trajectory == 7
    assert tabs['trajectory'].read([None], fields(steps=3)).trajectory == 1


@pytest.mark.parametrize(
    ('place', 'inputs', 'message'),
    [
        ('samples', fields(classes=[]), 'Choose at least one class'),
        ('samples', fields(per_class=1000), 'up to 100 images, not 2000'),
        ('samples', fields(steps=0), 'not 0'),
        ('samples', fields(interval='990-999'), 'holds none of the 3 timesteps'),
        ('sweep', ['', *fields()], 'at least one scale'),
        ('sweep', ['1, 2', *fields(method='none')], 'nothing to sweep'),
        ('trajectory', [-1, *fields()], 'the step to keep is a whole number'),
        ('trajectory', [1, *fields(steps=1000)], 'makes 2000 pictures, and up to 120 are shown'),
        ('trajectory', [1, *fields(classes=None)], 'Choose at least one class'),
    ],
)
def test_nonsense_is_a_line_on_the_page(runs, tabs, place, inputs, message):
    tab = tabs[place]
    shown = last(runs, tab, *inputs)
    assert 'error' in shown[tab.view]
    assert message.lower() in shown[tab.view].lower()


def test_weights_that_cannot_be_had_are_a_line_on_the_page(runs, tabs, tmp_path):
    weights = dict(unet=dict(ckpt_path=str(tmp_path / 'nowhere.pt')))
    path = tmp_path / 'tiny.py'
    Config(dict(model=model_config(pretrained_cfgs=weights))).dump(path)
    shown = last(runs, tabs['samples'], *fields(model=str(path), method='none'))
    assert 'nowhere.pt does not exist' in shown[tabs['samples'].view]


def test_a_config_that_is_not_on_the_list_is_not_run(runs, tabs, tmp_path):
    config = tmp_path / 'other.py'
    config.write_text(f'open({str(tmp_path / "ran")!r}, "w").close()')
    shown = last(runs, tabs['samples'], *fields(model=str(config)))
    assert 'no such model' in shown[tabs['samples'].view]
    assert not (tmp_path / 'ran').exists()


def test_weights_are_taken_from_nobody_unless_the_server_was_started_so(runs, tabs, tmp_path):
    asked = fields(weights=str(tmp_path / 'secret.pt'))
    shown = last(runs, tabs['samples'], *asked)
    assert 'started with --own-weights' in shown[tabs['samples'].view]
    runs.own_weights = True
    assert 'secret.pt does not exist' in last(runs, tabs['samples'], *asked)[tabs['samples'].view]


def test_memory_that_runs_out_is_a_line_on_the_page(runs, tabs, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr('mmagic_adm.demo.making.sample_in_batches', fail)
    shown = last(runs, tabs['samples'], *fields())
    assert 'not enough memory' in shown[tabs['samples'].view]


def test_what_was_not_foreseen_is_named_and_told_to_whoever_serves(runs, tabs, monkeypatch, capsys):
    monkeypatch.setattr('mmagic_adm.demo.making.sample_in_batches', lambda *_, **__: 1 / None)
    shown = last(runs, tabs['samples'], *fields())
    assert 'TypeError' in shown[tabs['samples'].view]
    assert 'Traceback' in capsys.readouterr().err


def test_two_at_once_get_their_own(runs, tabs):
    tab = tabs['samples']
    requests = dict(
        ann=fields(seed=5, classes=[3], method='classifier', interval='500-1000', steps=4),
        bob=fields(seed=50, classes=[8], method='cfg', scale=3, steps=4),
        eve=fields(seed=500, classes=[1], method='none', steps=4),
    )
    shown = {}

    def ask(visitor):
        shown[visitor] = last(runs, tab, *requests[visitor])

    threads = [threading.Thread(target=ask, args=[visitor]) for visitor in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    late = dict(type='ClassifierGuidance', interval=(500, 1000))
    free = dict(type='ClassifierFreeGuidance')
    expected = dict(
        ann=(dict(guidance=late), dict(labels=[3], seed=5, scale=2)),
        bob=(dict(guidance=free), dict(labels=[8], seed=50, scale=3)),
        eve=({}, dict(labels=[1], seed=500, scale=0)),
    )
    for visitor, (changes, arguments) in expected.items():
        samples = sample(init_model(DIGITS, 'cpu', **changes), steps=4, **arguments)['samples']
        assert np.array_equal(images(shown[visitor], tab), as_array(as_pictures(samples)))


def test_a_stop_ends_a_run_and_says_so(runs, tabs):
    tab = tabs['samples']
    stop = Stop()
    updates = runs.results(tab, stop, *fields(steps=1000))
    for shown in updates:
        if 'Step' in shown[tab.view]:
            assert runs.running == {stop}
            stop.set()
    assert 'Stopped before an image was done' in shown[tab.view]
    assert not runs.shelf.turn.locked()
    assert not runs.running


def test_who_has_stopped_in_the_queue_is_not_waited_for(runs, tabs):
    stop = Stop()
    stop.set()
    (shown,) = runs.results(tabs['samples'], stop, *fields())
    assert 'Stopped' in shown[tabs['samples'].view]
