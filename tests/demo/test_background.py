"""Work in a thread: followed, stopped, left alone."""

import threading
import time

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.background import StoppedError, follow


class Counting:
    """Work that goes on until it is stopped."""

    def __init__(self, may_be_left=False, gives=None):
        self.calls, self.ended = 0, threading.Event()
        self.may_be_left, self.gives = may_be_left, gives

    def __call__(self, report):
        try:
            while True:
                report(self.calls, may_be_left=self.may_be_left)
                self.calls += 1
                time.sleep(0.01)
        except StoppedError:
            if self.gives is None:
                raise
            return self.gives
        finally:
            self.ended.set()


def test_news_and_then_the_result():
    def work(report):
        for i in range(3):
            report(i)
            time.sleep(0.25)
        return 'done'

    assert list(follow(work, threading.Event())) == [0, 1, 2, 'done']


def test_an_error_comes_through():
    def work(report):
        report('about to')
        raise ValueError('no')

    with pytest.raises(ValueError, match='no'):
        list(follow(work, threading.Event()))


def test_a_stop_ends_the_work_at_its_next_report():
    stop, work = threading.Event(), Counting()
    followed = follow(work, stop)
    next(followed)
    stop.set()
    calls = work.calls
    with pytest.raises(StoppedError):
        list(followed)
    assert work.ended.is_set()
    assert work.calls <= calls + 1


def test_what_was_done_before_a_stop_is_not_lost():
    stop = threading.Event()
    followed = follow(Counting(gives='half'), stop)
    next(followed)
    stop.set()
    assert list(followed)[-1] == 'half'


def test_closing_the_iterator_ends_the_work():
    work = Counting()
    followed = follow(work, threading.Event())
    next(followed)
    followed.close()
    assert work.ended.wait(2)


def test_nobody_waits_for_work_that_may_be_left():
    slow = threading.Event()

    def work(report):
        report('loading', may_be_left=True)
        slow.wait(10)
        report('too late')

    stop = threading.Event()
    followed = follow(work, stop)
    assert next(followed) == 'loading'
    stop.set()
    with pytest.raises(StoppedError):
        next(followed)
    slow.set()


def test_work_that_is_stopped_already_does_nothing():
    stop, work = threading.Event(), Counting(may_be_left=True)
    stop.set()
    with pytest.raises(StoppedError):
        list(follow(work, stop))
    assert work.calls == 0
