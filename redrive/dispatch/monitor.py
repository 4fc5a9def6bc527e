"""The one lock of a dispatcher."""

from __future__ import annotations

import threading


class Monitor:
    """One lock over all that a dispatcher and its parts know, and a condition on it.

    Attributes:
        lock: re-entrant.
        room: told whenever events are settled, or the view of the lanes was renewed.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.room = threading.Condition(self.lock)
