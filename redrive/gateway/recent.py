"""Events of a short while ago, so that one that comes again is answered as before and not published again."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from redrive.gateway.problems import UNACKNOWLEDGED, Problem, id_reused


@dataclass(slots=True)
class Remembered:
    """One event.

    Attributes:
        fingerprint: of its content.
        since: when it came.
        outcome: what becomes, or became, of it: None if it was accepted; a future without a result while that is
            under way. None instead of a future: nobody knows; it is published again if it comes again.
    """

    fingerprint: bytes
    since: float
    outcome: asyncio.Future[Problem | None] | None


class RecentEvents:
    """The events of one partner, bounded in number and time. For one event loop."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._events: OrderedDict[bytes, Remembered] = OrderedDict()
        """By digests of ids: those are as long as their senders like."""

    def claim(self, event_id: str, fingerprint: bytes) -> tuple[asyncio.Future[Problem | None], bool]:
        """Return what tells the outcome of an event, and whether the caller is the one who has to publish it.

        Raises:
            Problem: its id was used for an event with another content.
        """
        now = self._clock()
        self._forget(now)
        key = _digest(event_id)
        known = self._events.get(key)
        if known is not None:
            if known.fingerprint != fingerprint:
                raise id_reused()
            if known.outcome is not None:
                return known.outcome, False
        outcome: asyncio.Future[Problem | None] = asyncio.get_running_loop().create_future()
        self._events[key] = Remembered(fingerprint, now, outcome)
        self._events.move_to_end(key)
        return outcome, True

    def settle(self, event_id: str, outcome: asyncio.Future[Problem | None], problem: Problem | None) -> None:
        """Note what became of an event that the caller had to publish, and tell all who wait for it."""
        if not outcome.done():
            outcome.set_result(problem)
        key = _digest(event_id)
        known = self._events.get(key)
        if problem is None or known is None or known.outcome is not outcome:
            return
        if problem.kind == UNACKNOWLEDGED:
            # It may be in Kafka: its id stays taken, and it is published again if it comes again.
            known.outcome = None
        else:
            del self._events[key]

    def _forget(self, now: float) -> None:
        while self._events:
            oldest = next(iter(self._events.values()))
            if len(self._events) < self._most and now - oldest.since < self._seconds:
                return
            self._events.popitem(last=False)


def _digest(event_id: str) -> bytes:
    return blake2b(event_id.encode(), digest_size=16).digest()
