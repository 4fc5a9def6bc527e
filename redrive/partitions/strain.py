"""What moves do to those who use a cluster, beside the most that they may: what pauses moves, and slows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from redrive.errors import UnavailableError
from redrive.partitions.probe import Probe
from redrive.pump.lag import ConsumerLag


@dataclass(frozen=True, slots=True)
class Strain:
    """One measure at one moment.

    Attributes:
        load: of its limit; above 1 it is over it.
        words: what it is, with the limit.
    """

    load: float
    words: str


class Gauge(Protocol):
    """Measures one thing that has a limit."""

    def read(self) -> Strain:
        """Measure.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        ...


class ProduceLatency:
    """How long it takes to publish, by a probe.

    Args:
        probe: it runs.
        limit: seconds that 99 of 100 events may take.
    """

    def __init__(self, probe: Probe, limit: float) -> None:
        self._probe, self._limit = probe, limit

    def read(self) -> Strain:
        """See `Gauge.read`."""
        if self._probe.refused:
            return Strain(float("inf"), f"produce latency can't be measured: {self._probe.refused}")
        p99 = self._probe.recent_p99()
        where = f", slowest at {self._probe.slowest()}" if p99 > self._limit else ""
        words = f"produce latency is {1000 * p99:,.0f} ms at the 99th percentile{where}"
        return Strain(p99 / self._limit, f"{words} (limit {1000 * self._limit:,.0f} ms)")


class GroupLag:
    """How far a consumer group is behind.

    Args:
        lag: of the group.
        group: its name.
        limit: events that may wait for it, in all.
    """

    def __init__(self, lag: ConsumerLag, group: str, limit: int) -> None:
        self._lag, self._group, self._limit = lag, group, limit

    def read(self) -> Strain:
        """See `Gauge.read`."""
        behind = self._lag.lag()
        return Strain(
            behind / self._limit, f"consumer group {self._group} is {behind:,} events behind (limit {self._limit:,})"
        )


def read(gauge: Gauge) -> Strain:
    """Measure. What can't be had counts as over its limit: the moves may be why nobody answers."""
    try:
        return gauge.read()
    except UnavailableError as error:
        return Strain(float("inf"), str(error))


def over_limit(gauges: Iterable[Gauge]) -> str:
    """Say what is over its limit, or can't be measured; empty if nothing is."""
    return "; ".join(strain.words for strain in map(read, gauges) if strain.load > 1)
