"""A throttle that follows the room that there is: lower when limits are near, higher when they are far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from redrive.errors import UnavailableError
from redrive.partitions.strain import Gauge
from redrive.partitions.throttle import Throttle

EVERY = 10.0
"""Seconds between two decisions: as long as Kafka takes to come down to a rate, and latency is measured over."""
STEP = 1.25
"""What a rate goes up by, or down; where a limit is exceeded, down by its cube, about half."""
NEAR, FAR = 0.8, 0.5
"""From which part of its limit a measure is near, and below which it is far. Between the two nothing changes."""
IN_USE = 0.5
"""A rate of which less than this part is used is not what holds the moves back, and raising it would say nothing."""


def next_rate(rate: int, load: float, used: float, least: int, most: int | None) -> int:
    """Give the rate to go on with, in bytes a second.

    Args:
        rate: the present one.
        load: the highest of the measures, as part of its limit.
        used: bytes a second copied in the whole cluster since the last decision.
        least: at which moves still get to their end; it is never lower.
        most: it is never higher, unless `least` is; None: no such limit.
    """
    if load > 1:
        rate = int(rate / STEP**3)
    elif load > NEAR:
        rate = int(rate / STEP)
    elif load < FAR and used >= IN_USE * rate:
        rate = int(rate * STEP)
    return max(least, rate if most is None else min(rate, most))


class FollowingThrottle:
    """Changes a throttle in mid-run.

    Attributes:
        most: bytes a second that it never exceeds; None: whatever limits allow.
        rates: the lowest and the highest that there have been, in bytes a second; None before anything was to move.
    """

    def __init__(
        self, throttle: Throttle, gauges: Sequence[Gauge], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most: int | None = None
        self.rates: tuple[int, int] | None = None
        self._throttle, self._gauges, self._clock = throttle, gauges, clock
        self._at: float | None = None
        self._copied = 0

    def converge(self, needs: Mapping[int, float]) -> None:
        """Begin at a rate at which all gets to its end; see `Throttle.converge`."""
        self._throttle.converge(needs)
        self._note(self._throttle.rate)

    def limit(self, most: int) -> None:
        """Never exceed a rate from now on.

        Raises:
            ThrottleTooLowError: at that rate nothing would ever arrive; all stays as it is.
        """
        if most < self._throttle.rate or most < self._throttle.least:
            self._throttle.change(most)
            self._note(most)
        self.most = most

    def look(self, copied: int) -> None:
        """Decide, if it is time to.

        Args:
            copied: bytes of new replicas, so far.

        A measure that can't be had counts as one over its limit: the moves may be why nobody answers.

        Raises:
            UnavailableError: the cluster does not take the new rate; the old one stays.
        """
        now = self._clock()
        if self._at is None:
            self._at, self._copied = now, copied
            return
        if now - self._at < EVERY:
            return
        used = (copied - self._copied) / (now - self._at)
        self._at, self._copied = now, copied
        load = max(map(_load, self._gauges), default=0.0)
        rate = next_rate(self._throttle.rate, load, used, self._throttle.least, self.most)
        if rate != self._throttle.rate:
            self._throttle.change(rate, by_hand=False)
        self._note(rate)

    def _note(self, rate: int) -> None:
        lowest, highest = self.rates or (rate, rate)
        self.rates = min(lowest, rate), max(highest, rate)


def _load(gauge: Gauge) -> float:
    try:
        return gauge.read().load
    except UnavailableError:
        return float("inf")
