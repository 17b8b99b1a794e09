"""Samples made in view are the samples that `sample` makes."""

import threading

import numpy as np
import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.apis import init_model, sample
from mmagic_adm.demo.background import Report, StoppedError
from mmagic_adm.demo.making import by_class, make, whole_scales
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.files.pictures import as_array, as_pictures
from tests.demo.orders import DIGITS, order
from tests.tiny import build_latent_model


@pytest.fixture(scope='module')
def shelf():
    return Shelf('cpu')


def pixels(samples):
    return as_array([each.picture for each in samples])


class Listener:
    """Hears every report, and may stop the work at one of them."""

    def __init__(self, stop_at=None):
        self.heard, self.stop_at = [], stop_at

    def __call__(self, progress, may_be_left=False):
        if len(self.heard) == self.stop_at:
            raise StoppedError
        self.heard.append(progress)


def test_samples_are_those_of_the_api(shelf):
    made = make(shelf, order(per_class=5), Report(threading.Event()))
    expected = sample(
        init_model(DIGITS, 'cpu'), labels=[3, 7], num_samples=10, seed=5, steps=3, scale=2
    )
    assert np.array_equal(pixels(made.samples), as_array(as_pictures(expected['samples'])))
    assert [each.label for each in made.samples] == [3, 7] * 5
    assert [each.seed for each in made.samples] == expected['seeds']
    assert made.is_whole


def test_it_tells_of_every_step_and_shows_what_is_predicted(shelf):
    listener = Listener()
    make(shelf, order(per_class=5), listener)
    steps = [each for each in listener.heard if each.total]
    assert [each.text.split(' · ')[0] for each in steps] == [
        f'Step {i} of 3' for i in (1, 2, 3)
    ] * 2
    assert [len(each.done) for each in steps] == [0, 0, 0, 8, 8, 8]
    assert [len(each.predicted) for each in steps] == [8, 8, 8, 2, 2, 2]
    shares = [each.share for each in steps]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_latents_are_decoded_for_a_look_now_and_then(shelf, monkeypatch):
    monkeypatch.setattr(shelf, 'model_for', lambda order: build_latent_model())
    for nobody in ('classifier_for', 'judge_for'):
        monkeypatch.setattr(shelf, nobody, lambda *_: None)
    listener = Listener()
    made = make(shelf, order(method='none', steps=12), listener)
    looks = [each.predicted for each in listener.heard if each.total]
    assert len(looks) == 12
    assert {look.shape for look in looks} == {(2, 3, 16, 16)}
    assert len(set(map(id, looks))) == 2
    assert pixels(made.samples).shape == (2, 16, 16, 3)


def test_a_stop_comes_before_the_next_network_call(shelf, monkeypatch):
    model = shelf.model_for(order())
    calls = []
    hook = model.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        with pytest.raises(StoppedError):
            make(shelf, order(), Listener(stop_at=4))
    finally:
        hook.remove()
    # Heard: fetching, waiting, loading, the first step; stopped at the second.
    assert len(calls) == 2


def test_samples_that_were_done_before_a_stop_are_kept(shelf):
    whole = make(shelf, order(per_class=5), Listener())
    part = make(shelf, order(per_class=5), Listener(stop_at=7))
    assert not part.is_whole
    assert np.array_equal(pixels(part.samples), pixels(whole.samples)[:8])


def test_a_stop_leaves_the_device_to_the_next(shelf):
    with pytest.raises(StoppedError):
        make(shelf, order(), Listener(stop_at=4))
    assert make(shelf, order(), Listener()).is_whole


def test_a_sweep_differs_in_the_scale_alone(shelf):
    made = make(shelf, order(), Listener(), scales=[0, 4])
    assert [(each.scale, each.label) for each in made.samples] == [(0, 3), (0, 7), (4, 3), (4, 7)]
    strong = make(shelf, order(scale=4), Listener())
    assert np.array_equal(pixels(made.samples[2:]), pixels(strong.samples))
    assert [(each.scale, each.label) for each in by_class(made.samples, 2)] == [
        (0, 3),
        (4, 3),
        (0, 7),
        (4, 7),
    ]


def test_a_sweep_that_was_stopped_has_whole_scales_alone(shelf):
    made = make(shelf, order(per_class=5), Listener(stop_at=11), scales=[0, 1])
    assert len(made.samples) == 10
    part = make(shelf, order(per_class=5), Listener(stop_at=7), scales=[0, 1])
    assert len(part.samples) == 8
    assert whole_scales(part, 10) == []


def test_a_trajectory_has_the_steps_asked_for(shelf):
    made = make(shelf, order(classes=[3], steps=5), Listener(), every=2)
    assert made.trajectory['x_t'].shape == (3, 1, 1, 16, 16)


def test_a_classifier_says_how_sure_it_is(shelf):
    made = make(shelf, order(steps=10), Listener())
    assert all(0.5 < each.confidence <= 1 for each in made.samples)
    judged = make(
        shelf, order(model='adm_ddim25_digits-16x16', method='none', steps=10), Listener()
    )
    assert all(0.5 < each.confidence <= 1 for each in judged.samples)
