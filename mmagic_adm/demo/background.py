"""Work in a thread, followed from outside and stopped from there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

News = TypeVar('News')
Result = TypeVar('Result')

# Seconds from one look at the work to the next.
PERIOD = 0.1


class StoppedError(Exception):
    """Somebody stopped the work."""


class Report(Generic[News]):
    """What the work calls with its news, and who follows it reads.

    Args:
        stop: Set by whoever wants the work to end.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._fresh = threading.Event()
        self._latest: News | None = None
        self.may_be_left = True

    def __call__(self, news: News, may_be_left: bool = False) -> None:
        """Tells how the work is going.

        Args:
            news: What there is to tell. Only the latest is kept.
            may_be_left: Whether nothing is lost if nobody waits for the end after a stop.

        Raises:
            StoppedError: The work is to end.
        """
        if self._stop.is_set():
            raise StoppedError
        self.may_be_left = may_be_left
        self._latest = news
        self._fresh.set()

    def take(self) -> News | None:
        """The latest news, if nobody has taken it yet."""
        if not self._fresh.is_set():
            return None
        self._fresh.clear()
        return self._latest


def follow(
    work: Callable[[Report[News]], Result], stop: threading.Event
) -> Iterator[News | Result]:
    """Does the work in a thread.

    When the iterator is closed, or ``stop`` is set, the work ends with its next report.

    Args:
        work: Called with a :class:`Report`, to call often.
        stop: Ends the work.

    Yields:
        News of the work as it goes, some of it skipped; what the work gave comes last.

    Raises:
        StoppedError: The work was stopped and gave nothing.
    """
    report: Report[News] = Report(stop)
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work(report))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            if stop.is_set() and report.may_be_left:
                raise StoppedError
            if (news := report.take()) is not None:
                yield news
            thread.join(PERIOD)
        if errors:
            raise errors[0]
        yield results[0]
    finally:
        stop.set()
