"""Memory that was freed goes back to the system.

glibc keeps it for later, in arenas for a few threads each. Kafka's clients bring threads of their own, and what they
leave when they are closed is full of holes; the next one's threads may use other arenas. So a process that opens
clients again and again takes more and more, half of it free.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Give back what is free by now, of all threads; takes milliseconds. Without glibc it does nothing."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
