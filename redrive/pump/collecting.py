"""Python's search for cycles, made rare while events pass by the hundred thousand.

Each event makes a few dozen objects, hardly any of them in a cycle, and most gone a moment later. Python looks for
cycles every 700 objects that are new; that takes an eighth of all time here, and a fifth where events are judged.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 50_000


def collect_seldom() -> None:
    """Make it rare from now on, in a process that does nothing else; what is there by now is left out for good."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


class _Collecting:
    """Counts those for whom it is rare at present."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._inside = 0
        self._before = (0, 0, 0)

    def enter(self) -> None:
        with self._changing:
            if not self._inside:
                self._before = gc.get_threshold()
                if 0 < self._before[0] < _NEW_OBJECTS:
                    gc.set_threshold(_NEW_OBJECTS)
            self._inside += 1

    def leave(self) -> None:
        with self._changing:
            self._inside -= 1
            if not self._inside:
                gc.set_threshold(*self._before)


_collecting = _Collecting()


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Make it rare for all of this process; as before when the last of those that are inside, in any thread, leaves."""
    _collecting.enter()
    try:
        yield
    finally:
        _collecting.leave()
