"""What each visitor has running, so that it can be stopped."""

from __future__ import annotations

import threading

Stop = threading.Event


class Visitors:
    """Signals to stop, by visitor and by the place on the page where the work was started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: dict[tuple[str, str], Stop] = {}

    def begin(self, visitor: str, place: str) -> None:
        """Notes that a visitor wants something; what is running there ends."""
        with self._lock:
            self._end(visitor, place)
            self._stops[visitor, place] = Stop()

    def stop_of(self, visitor: str, place: str) -> Stop:
        """What ends the work that a visitor wants: set already if nothing is wanted any more."""
        with self._lock:
            if (visitor, place) in self._stops:
                return self._stops[visitor, place]
        ended = Stop()
        ended.set()
        return ended

    def stop(self, visitor: str, place: str) -> None:
        """Ends what a visitor has running at a place."""
        with self._lock:
            self._end(visitor, place)

    def leave(self, visitor: str) -> None:
        """Ends all that a visitor has running, and forgets it."""
        with self._lock:
            for name, place in list(self._stops):
                if name == visitor:
                    self._end(name, place)
                    del self._stops[name, place]

    def leave_all(self) -> None:
        """Ends all that is running."""
        for visitor, _ in list(self._stops):
            self.leave(visitor)

    def _end(self, visitor: str, place: str) -> None:
        stop = self._stops.get((visitor, place))
        if stop is not None:
            stop.set()
