"""Trouble in the log: told when it begins, then now and then, with how often it was not told meanwhile.

While something is wrong, it is wrong with each event; a line for each would bury the first one and all else, and fill
the disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

EVERY = 5.0
"""Seconds between two lines about the same trouble."""


class Complaints:
    """Throttles the lines of one logger, each kind of trouble for itself. Thread-safe.

    Args:
        log: where they go.
        level: how bad they are, as `logging` has it.
        clock: seconds, only rising.
    """

    def __init__(
        self, log: logging.Logger, level: int = logging.ERROR, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._level, self._clock = log, level, clock
        self._lock = threading.Lock()
        self._told: dict[Hashable, tuple[float, int]] = {}
        """By kind: when it was told, and how often it was not since then."""

    def say(self, kind: Hashable, message: str, *arguments: object) -> None:
        """Log it, unless one of its kind was logged just now; kinds must be few, they are never forgotten."""
        now = self._clock()
        with self._lock:
            since, untold = self._told.get(kind, (float("-inf"), 0))
            if now - since < EVERY:
                self._told[kind] = since, untold + 1
                return
            self._told[kind] = now, 0
        more = f" ({untold:,} more like it since the last such line)" if untold else ""
        self._log.log(self._level, f"{message}%s", *arguments, more)
