"""Whose work a button stops."""

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.visitors import Visitors


def test_a_stop_is_for_one_visitor_and_one_place():
    visitors = Visitors()
    for who, place in (('ann', 'samples'), ('ann', 'sweep'), ('bob', 'samples')):
        visitors.begin(who, place)
    visitors.stop('ann', 'samples')
    assert visitors.stop_of('ann', 'samples').is_set()
    assert not visitors.stop_of('ann', 'sweep').is_set()
    assert not visitors.stop_of('bob', 'samples').is_set()


def test_to_begin_again_ends_what_was_begun():
    visitors = Visitors()
    visitors.begin('ann', 'samples')
    first = visitors.stop_of('ann', 'samples')
    visitors.begin('ann', 'samples')
    assert first.is_set()
    assert not visitors.stop_of('ann', 'samples').is_set()


def test_what_a_visitor_left_in_the_queue_is_not_begun():
    visitors = Visitors()
    visitors.begin('ann', 'samples')
    running = visitors.stop_of('ann', 'samples')
    visitors.leave('ann')
    assert running.is_set()
    assert visitors.stop_of('ann', 'samples').is_set()
