"""What may stand in the fields, and what is said of the rest."""

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.catalogue import size_of_weights
from mmagic_adm.demo.entries import read_interval, read_scales
from tests.demo.orders import DIGITS, order

LSUN = 'adm_ddim250_8xb32_lsun-cat-256x256'


def test_an_order_says_what_the_fields_say():
    read = order(per_class=2, scheduler='ddpm', interval='500-1000')
    assert (read.labels, read.count, read.seed, read.steps) == ((3, 7), 4, 5, 3)
    assert (read.scheduler, read.scale) == ('ddpm', 2)
    assert read.changes == dict(guidance=dict(type='classifier', interval=(500, 1000)))


def test_a_model_without_classes_needs_none():
    read = order(model=LSUN, classes=None, per_class=3, method='none')
    assert (read.labels, read.count, read.scale) == ((), 3, None)


def test_weights_of_ones_own_are_not_for_stages():
    assert order(weights=' a.pt ').weights == 'a.pt'
    with pytest.raises(ValueError, match='a model in stages takes no weights'):
        order(model='adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256', weights='a.pt')


def test_guidance_without_a_pace_takes_no_interval():
    with pytest.raises(ValueError, match=r'Sample .* takes no interval: leave it empty'):
        order(model='edm-ots_heun18_8xb32_imagenet-64x64', method='sample', interval='1-2')


def test_without_guidance_its_fields_do_not_count():
    read = order(method='none', scale='nonsense', interval='nonsense')
    assert (read.changes, read.scale) == ({}, 0)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(classes=[]), 'choose at least one class'),
        (dict(classes=None), 'choose at least one class'),
        (dict(classes=[10]), 'a class is a whole number from 0 to 9, not 10'),
        (dict(classes=['cat']), "a class is a whole number from 0 to 9, not 'cat'"),
        (dict(per_class=0), 'images per class is a whole number from 1 on, not 0'),
        (dict(per_class=1.5), 'images per class is a whole number .* not 1.5'),
        (dict(per_class=51), '2 classes with 51 images each: .* up to 100 images, not 102'),
        (dict(per_class=10**30), 'up to 100 images'),
        (dict(seed=-1), 'the first seed is a whole number from 0 to 4294967294, not -1'),
        (dict(seed=2**32 - 1), 'the first seed .* not 4294967295'),
        (dict(seed=None), 'the first seed .* not nothing'),
        (dict(seed='many'), "the first seed .* not 'many'"),
        (dict(seed=float('nan')), 'the first seed .* not nan'),
        (dict(steps=0), 'the number of steps is a whole number from 1 to 1000, not 0'),
        (dict(steps=5000), 'the number of steps .* from 1 to 1000, not 5000'),
        (dict(scale=''), 'scale is a number from 0 to 20, not nothing'),
        (dict(scale='inf'), 'scale is a number from 0 to 20'),
        (dict(interval='some'), "500-1000, or shares of the process such as 0.5-1, not 'some'"),
        (dict(interval='800-200'), 'the interval goes up'),
        (dict(interval='500-2000'), 'lies between 0 and 1000; 500 to 2000 does not'),
        (dict(scheduler='sgd'), "no scheduler is called 'sgd'; there are .*ddim, ddpm"),
        (dict(method='pixels'), "guidance by 'pixels' does not go with"),
        (dict(method='off-the-shelf'), 'it takes none, classifier, cfg'),
        (dict(model='adm-x'), "there is no config called 'adm-x'"),
    ],
)
def test_nonsense_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as refused:
        order(**changes)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', None),
        (None, None),
        ('500-1000', (500, 1000)),
        (' 200 , 800 ', (200, 800)),
        ('(200, 800)', (200, 800)),
        ('0.5-1', (500, 1000)),
        ('0 to .25', (0, 250)),
        ('0-0.3333', (0, 333.3)),
    ],
)
def test_intervals_are_timesteps_or_shares(text, expected):
    assert read_interval(text, 1000) == pytest.approx(expected)


def test_scales_are_read_once_each_in_their_order():
    assert read_scales('2, 0.5;0  2', 1) == (2, 0.5, 0)


@pytest.mark.parametrize(
    ('text', 'message'),
    [('', 'at least one scale'), ('1, x', "not 'x'"), ('1 2 3', '3 scales with 40 images each')],
)
def test_scales_that_make_no_sense(text, message):
    with pytest.raises(ValueError, match=message):
        read_scales(text, 40)


def test_the_model_of_the_tests_is_the_bundled_one():
    assert order().facts.name == DIGITS
    assert size_of_weights(DIGITS) == 'comes with the package'
