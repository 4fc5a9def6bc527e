"""Quotas: a token bucket for each partner, in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from redrive.config.gateway import GatewayConfig
from redrive.gateway.problems import Problem


class TokenBucket:
    """Lets through ``rate`` events a second, and after a rest ``burst`` at once."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self.burst = burst
        self._rate, self._clock = rate, clock
        self._tokens, self._filled = float(burst), clock()

    def take(self, events: int, held: int = 0) -> float:
        """Take so many at once, or none; return 0, or the seconds after which they could be there.

        Args:
            events: how many.
            held: how many of them were taken before. They stay taken, else a batch that is refused would cost nothing.
        """
        now = self._clock()
        self._tokens = min(self.burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if events - held <= self._tokens:
            self._tokens -= events - held
            return 0.0
        return (events - self._tokens) / self._rate


class Quotas:
    """The buckets of all partners."""

    def __init__(self, settings: GatewayConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = {
            name: TokenBucket(partner.rate, settings.burst(name), clock) for name, partner in settings.partners.items()
        }

    def largest(self, partner: str) -> int:
        """Return how many events a partner may ever send at once."""
        return self._buckets[partner].burst

    def take(self, partner: str, events: int, held: int = 0) -> None:
        """Count events against a partner's quota; ``held`` of them were counted before.

        Raises:
            Problem: it is used up; says when to come again.
        """
        seconds = self._buckets[partner].take(events, held)
        if seconds > 0:
            headers = {"Retry-After": str(math.ceil(seconds))}
            raise Problem(429, "quota", "your quota of events is used up for now", headers=headers)
