"""Samples made in view are the samples that `sample` makes."""

import threading

import numpy as np
import pytest
import torch

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.apis import init_model, sample
from mmagic_adm.apis.samples import Samples
from mmagic_adm.demo.background import Report, StoppedError
from mmagic_adm.demo.making import captions_of, make
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.files.pictures import as_uint8
from mmagic_adm.guidance.classifier import build_frozen
from tests.demo.orders import DIGITS, order
from tests.tiny import build_latent_model


@pytest.fixture(scope='module')
def shelf():
    return Shelf('cpu')


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
    assert np.array_equal(made.samples.pixels, expected.pixels)
    assert made.samples.labels.tolist() == [3, 7] * 5
    assert made.samples.seeds == expected.seeds
    assert made.total == 10


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
    monkeypatch.setattr(shelf, 'judge_for', lambda order: None)
    listener = Listener()
    made = make(shelf, order(method='none', steps=12), listener)
    looks = [each.predicted for each in listener.heard if each.total]
    assert len(looks) == 12
    assert {look.shape for look in looks} == {(2, 3, 16, 16)}
    assert len(set(map(id, looks))) == 2
    assert made.samples.pixels.shape == (2, 16, 16, 3)


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


def test_samples_that_were_done_before_a_stop_are_kept_and_the_device_is_free(shelf):
    with pytest.raises(StoppedError):
        make(shelf, order(), Listener(stop_at=4))
    whole = make(shelf, order(per_class=5), Listener())
    part = make(shelf, order(per_class=5), Listener(stop_at=7))
    assert (len(part.captions), part.total) == (8, 10)
    assert np.array_equal(part.samples.pixels, whole.samples.pixels[:8])


def test_a_sweep_differs_in_the_scale_alone(shelf):
    swept = make(shelf, order(scales='0, 4'), Listener()).samples
    assert (swept.labels.tolist(), swept.seeds) == ([3, 3, 7, 7], [5, 5, 6, 6])
    strong = make(shelf, order(scale=4), Listener()).samples
    assert torch.allclose(swept.tensor[1::2], strong.tensor, atol=1e-5)


def test_trajectories_have_the_steps_asked_for_of_all(shelf):
    made = make(shelf, order(per_class=5, steps=5, trajectory=2), Listener())
    assert made.samples.trajectory['x_t'].shape == (3, 10, 1, 16, 16)


@pytest.mark.parametrize('method', ['classifier', 'none'])
def test_a_judge_says_what_it_sees_and_the_classifier_that_guided_does_not(shelf, method):
    asked = order(per_class=2, method=method)
    assert asked.facts.judge['weights'] == 'bundled://digits-16x16_judge.safetensors'
    judge = build_frozen(dict(asked.facts.judge))
    made = make(shelf, asked, Listener())
    seen = judge(as_uint8(made.samples.tensor).expand(-1, 3, -1, -1))['logits'].softmax(1).max(1)
    assert [text.partition('judge: ')[2] for text in made.captions] == [
        f'class {label} {sure:.0%}' for sure, label in zip(*seen, strict=True)
    ]


class Judge:
    def __call__(self, images):
        assert (images.shape, images.dtype) == ((2, 3, 16, 16), torch.uint8)
        return dict(logits=torch.tensor([[5.0] + [0] * 9, [0.0] * 8 + [3, 0]]))


def test_captions_say_seed_or_scale_class_and_what_a_judge_takes_it_for():
    def captions(asked, judge=None):
        given = {**asked.each, 'labels': torch.tensor(asked.each['labels'])}
        return captions_of(asked, Samples(dict(given, samples=torch.zeros(2, 1, 16, 16))), judge)

    assert captions(order(), Judge()) == [
        'seed 5 · class 3 · judge: class 0 94%',
        'seed 6 · class 7 · judge: class 8 69%',
    ]
    assert captions(order(scales='0, 0.5', classes=[7])) == [
        'scale 0 · class 7',
        'scale 0.5 · class 7',
    ]
    named = order(model='adm-g_ddim25_8xb32_imagenet-64x64', classes=[207, 333])
    assert captions(named) == ['seed 5 · golden retriever', 'seed 6 · hamster']
