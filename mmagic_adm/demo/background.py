"""Work in a thread, followed from the page, and stopped from there by whoever wanted it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

News = TypeVar('News')
Result = TypeVar('Result')
Stop = threading.Event

# Seconds from one look at the work to the next.
PERIOD = 0.1


class StoppedError(Exception):
    """Somebody stopped the work."""


class Report(Generic[News]):
    """What the work calls with its news, of which whoever follows it gets the latest.

    Args:
        stop: Set by whoever wants the work to end.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self.latest: deque[News] = deque(maxlen=1)
        self.may_be_left = True

    def __call__(self, news: News, may_be_left: bool = False) -> None:
        """Tells how the work is going.

        Args:
            news: What there is to tell.
            may_be_left: Whether nothing is lost if nobody waits for the end after a stop.

        Raises:
            StoppedError: The work is to end.
        """
        if self._stop.is_set():
            raise StoppedError
        self.may_be_left = may_be_left
        self.latest.append(news)


def follow(work: Callable[[Report[News]], Result], stop: Stop) -> Iterator[News | Result]:
    """Does the work in a thread; when the iterator is closed, it ends with its next report.

    Args:
        work: Called with a :class:`Report`, to call often.
        stop: Ends the work.

    Yields:
        News of the work as it goes, some of it skipped; what the work gave comes last.

    Raises:
        StoppedError: The work was stopped and gave nothing.
    """
    report: Report[News] = Report(stop)
    ended: Future[Result] = Future()

    def run() -> None:
        try:
            ended.set_result(work(report))
        except Exception as error:
            ended.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        while not wait([ended], PERIOD).done:
            if stop.is_set() and report.may_be_left:
                raise StoppedError
            if report.latest:
                yield report.latest.pop()
        yield ended.result()
    finally:
        stop.set()
