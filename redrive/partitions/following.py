"""A throttle that follows limits: lower while one is exceeded, and up again when it holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from redrive.errors import at_least_in_mb
from redrive.partitions.convergence import least_rate, needed, require_convergence
from redrive.partitions.copying import Copying, throttled, written
from redrive.partitions.strain import Gauge, Strain, read
from redrive.partitions.throttle import Throttle

EVERY = 10.0
"""Seconds between two decisions: as long as Kafka takes to come down to a rate, and latency is measured over."""
STEP = 1.25
"""What a rate goes up by, or down; where a limit is exceeded, down by its cube, about half."""
NEAR, FAR = 0.8, 0.5
"""From which part of its limit a measure is near, and below which it is far. Between the two nothing changes."""
IN_USE = 0.5
"""A rate of which no broker uses this part is not what holds the moves back, and raising it would say nothing."""
SLOWEST = 100_000
"""Bytes a second below which it does not go by itself: nobody feels so little, and the way up would take long."""


def next_rate(rate: int, load: float, used: float, least: int, most: int | None, *, fixed: bool = False) -> int:
    """Give the rate to go on with, in bytes a second.

    Args:
        rate: the present one.
        load: the highest of the measures, as part of its limit.
        used: bytes a second of its rate that the busiest broker has used since the last decision.
        least: at which moves still get to their end; it is never lower.
        most: it is never higher, unless `least` is; None: no such limit.
        fixed: somebody wants just ``most``, as long as limits hold. Else it feels its way to what they allow.
    """
    if load > 1:
        rate = int(rate / STEP**3)
    elif load > NEAR:
        rate = rate if fixed else int(rate / STEP)
    elif fixed or (load < FAR and used >= IN_USE * rate):
        rate = int(rate * STEP)
    return max(least, rate if most is None else min(rate, most))


class FollowingThrottle:
    """Changes a throttle in mid-run.

    Attributes:
        most: bytes a second that it never exceeds; None: whatever limits allow.
        rates: the lowest and the highest that there have been, in bytes a second; None before anything was to move.
        slowed_by: which measure keeps it below what is asked for, in words; empty if none does.
        crawls: which measure has brought it down to the least that it may be, in words; it has not come up again since.
            Empty if none has. At that rate moves could go on for weeks.
        risen: it had to begin at more than what was asked for.
        too_low: why moves don't get to their end at what is asked for, by what is written now; empty if they do.

    Args:
        throttle: its rate is what to begin with.
        gauges: of what has limits.
        fixed: its rate is what is asked for, and the most; it is only lower while a limit is exceeded and after that,
            until it is up again step by step. One that is not fixed takes whatever limits allow.
        clock: seconds.
    """

    def __init__(
        self,
        throttle: Throttle,
        gauges: Sequence[Gauge],
        *,
        fixed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most: int | None = throttle.rate if fixed else None
        self.rates: tuple[int, int] | None = None
        self.risen = False
        self.slowed_by, self.crawls, self.too_low = "", "", ""
        self._throttle, self._gauges, self._fixed, self._clock = throttle, gauges, fixed, clock
        self._at = 0.0
        self._then: Copying | None = None
        self._needs: Mapping[int, float] = {}
        self._held = False
        self._lock = threading.Lock()

    def begin(self, needs: Mapping[int, float], *, rise: bool = False) -> None:
        """Begin at the rate that is asked for, or, if it is not fixed, at one at which all gets to its end.

        Args:
            needs: see `redrive.partitions.convergence.needed`.
            rise: if a fixed one is too low for that, the least that is not is wanted from now on.

        Raises:
            ThrottleTooLowError: it is fixed, may not rise, and nothing would ever arrive.
        """
        with self._lock:
            if self._fixed and self.most is not None:
                self._throttle.rate = self.most
                if rise:
                    self._throttle.converge(needs)
                    self.risen, self.most = self._throttle.rate > self.most, self._throttle.rate
                else:
                    self._throttle.require_convergence(needs)
            else:
                self._throttle.converge(needs)
            self._then, self._needs, self._held = None, {}, False
            self.slowed_by, self.crawls, self.too_low = "", "", ""
            self._note(self._throttle.rate)

    def limit(self, most: int) -> None:
        """Never exceed a rate from now on; if it is fixed, that is what is wanted now.

        Raises:
            ThrottleTooLowError: at that rate nothing would ever arrive, by what is written now, or was when it began;
                all stays as it is.
        """
        with self._lock:
            require_convergence(most, self._needs)
            rate = self._throttle.rate
            if (self._fixed and rate == self.most) or most < rate or most < self._throttle.least:
                self._throttle.change(most)
                self._note(most)
            self.most, self.too_low = most, ""

    def look(self, now: Copying) -> None:
        """Decide, if it is time to, by what has been copied so far.

        Raises:
            UnavailableError: the cluster does not take the new rate; the old one stays.
        """
        seconds = self._clock() - self._at
        if self._then is not None and seconds < EVERY:
            return
        then, self._at, self._then = self._then, self._clock(), now
        if then is None:
            return
        used = max(throttled(then, now, seconds).values(), default=0.0)
        in_flight = now.in_flight
        needs = needed(in_flight, written(then, now, seconds), now.leaders, len(in_flight))
        worst = max(map(read, self._gauges), key=lambda strain: strain.load, default=Strain(0.0, ""))
        with self._lock:
            self._needs = needs
            least = max(self._throttle.least, least_rate(needs), SLOWEST)
            if self._fixed and self.most is not None:
                least = min(least, self.most)
            rate = next_rate(self._throttle.rate, worst.load, used, least, self.most, fixed=self._fixed)
            if rate != self._throttle.rate:
                self._throttle.change(rate, by_hand=False)
            self._note(rate)
            self.slowed_by, self.crawls = self._why(rate, worst), self._why_crawling(rate, least, worst)
            self.too_low = _why_too_low(rate, least_rate(needs))

    def _why(self, rate: int, worst: Strain) -> str:
        if self.most is not None and rate >= self.most:
            return ""
        if worst.load > 1:
            return worst.words
        if self._fixed:
            return f"{worst.words} again, {'still near it' if worst.load > NEAR else 'and it goes up by steps'}"
        return f"{worst.words}, near it" if worst.load > NEAR else ""

    def _why_crawling(self, rate: int, least: int, worst: Strain) -> str:
        # A step up between two down is still crawling: it takes two looks in a row, or twice the rate, to be out of it.
        held, before = worst.load > (NEAR if self._fixed else FAR), self._held
        self._held = held
        if (self.most is not None and rate >= self.most) or rate >= least * STEP**3 or not (held or before):
            return ""
        return worst.words if self.crawls or (rate <= least and worst.load > NEAR) else ""

    def _note(self, rate: int) -> None:
        lowest, highest = self.rates or (rate, rate)
        self.rates = min(lowest, rate), max(highest, rate)


def _why_too_low(rate: int, least: int) -> str:
    if rate >= least:
        return ""
    return (
        f"at {rate / 1e6:,.2f} MB/s moves never end, by what is written now: it takes at least "
        f"{at_least_in_mb(least)} MB/s"
    )
