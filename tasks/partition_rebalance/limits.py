"""What users of a cluster are spared while partitions move: the limits of the run form, and what is measured."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from redrive.config import Cluster
from redrive.errors import GoalError
from redrive.partitions.picture import Picture
from redrive.partitions.probe import PROBE_TOPIC, WARM_UP, Latencies, Probe
from redrive.partitions.strain import Gauge, GroupLag, ProduceLatency
from redrive.pump.lag import ConsumerLag

BEFORE = 5.0
"""Seconds in which produce latency is measured before anything moves."""


class WatchedGroup(BaseModel):
    """Begin no more moves, and slow those under way, while a consumer group is too far behind."""

    model_config = ConfigDict(extra="forbid")

    group: Annotated[str, Field(title="Consumer group", min_length=1, description="The group to watch.")]
    max_lag: Annotated[
        int,
        Field(title="Largest lag (events)", ge=1, description="Over all partitions that the group has committed for."),
    ] = 100_000


# What forms that move partitions have in common, with one meaning.
MovesThrottle = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None,
    Field(
        title="Throttle (MB per second)",
        description="What a broker may send, and receive, for moves; less while a limit below is exceeded, but never "
        "too little for the moves to end. auto: 10 at first, more while limits are far, less when near. None: no "
        "throttle, which may hurt producers. It (of auto: the most that it may be) can be changed while the run works, "
        "by its pace variable or by `redrive pace partition-rebalance`.",
    ),
]
LargestProduceLatency = Annotated[
    float | None,
    Field(
        title="Largest produce latency (ms)",
        gt=0,
        allow_inf_nan=False,
        description="While more than 1 of 100 events takes longer to be acknowledged, no more moves begin, and the "
        "throttle of those under way comes down. Measured by events of the run's own, in the topic redrive.probe, over "
        "ten seconds.",
    ),
]
WatchedGroups = Annotated[
    list[WatchedGroup],
    Field(
        title="Consumer groups to watch",
        description="While one is too far behind, no more moves begin, and the throttle of those under way comes down.",
    ),
]


@dataclass(frozen=True, slots=True)
class StrainLimits:
    """What users may feel of the moves.

    Attributes:
        produce_latency: seconds that 99 of 100 events may take to be acknowledged; None: any time.
        groups: consumer groups, and how far they may be behind.
    """

    produce_latency: float | None = None
    groups: tuple[WatchedGroup, ...] = ()

    @classmethod
    def of(cls, max_produce_latency: float | None, watched_groups: list[WatchedGroup]) -> StrainLimits:
        """Read them from a form, which has milliseconds."""
        return cls(None if max_produce_latency is None else max_produce_latency / 1000, tuple(watched_groups))

    def __str__(self) -> str:
        found = [f"group {each.group} is more than {each.max_lag:,} events behind" for each in self.groups]
        if self.produce_latency is not None:
            found.insert(0, f"1 of 100 events takes more than {1000 * self.produce_latency:,g} ms to publish")
        return ", or ".join(found)


def check_limits(cluster: Cluster, picture: Picture, limits: StrainLimits, *, follow: bool) -> None:
    """Refuse limits that nothing could be measured by.

    Args:
        cluster, picture: where partitions are to move.
        limits: what is asked for.
        follow: the throttle is to follow them.

    Raises:
        GoalError: with the way out.
        UnavailableError: the cluster does not answer.
    """
    if follow and limits.produce_latency is None and not limits.groups:
        raise GoalError(
            "throttle", "auto follows limits, and none is given: give a produce latency or a group to watch"
        )
    if limits.produce_latency is not None and not probe_partitions(picture):
        missing = f"cluster {cluster.name} has no topic {PROBE_TOPIC} to measure it by; `redrive topics apply` makes it"
        raise GoalError("max_produce_latency", missing)
    for each in limits.groups:
        if not _lag(cluster, each).knows():
            nothing = f"{each.group} has committed nothing on cluster {cluster.name}; correct its name, or leave it out"
            raise GoalError("watched_groups", nothing)


def probe_partitions(picture: Picture) -> int:
    """Say how many partitions there are to measure produce latency by."""
    return sum(topic == PROBE_TOPIC for topic, _ in picture.partitions)


@dataclass(frozen=True, slots=True)
class ProduceTimes:
    """How long producers have waited, at the 99th percentile, in seconds.

    Attributes:
        before, during: the moves; None if nothing came.
        events: that were measured while partitions moved.
        why_not: why it was not measured; empty if it was.
    """

    before: float | None = None
    during: float | None = None
    events: int = 0
    why_not: str = ""

    def __str__(self) -> str:
        if self.why_not:
            return f"not measured: {self.why_not}"
        return f"{_ms(self.before)} before, {_ms(self.during)} during the moves, by {self.events:,} events of a probe"

    def evidence(self) -> dict[str, Any]:
        """Give it for the ledger, in milliseconds."""
        if self.why_not:
            return {"produce_p99_ms": None}
        before, during = (None if each is None else round(1000 * each, 1) for each in (self.before, self.during))
        return {"produce_p99_ms": {"before": before, "during": during, "events": self.events}}


class Strains:
    """Measures as long as it is open.

    Args:
        cluster, picture: where partitions move.
        limits: what is asked for, and checked.

    Attributes:
        gauges: of what has limits.
    """

    def __init__(self, cluster: Cluster, picture: Picture, limits: StrainLimits) -> None:
        partitions = probe_partitions(picture)
        self._probe = Probe(cluster.client_config(), partitions) if partitions else None
        self._before = Latencies()
        self._open = ExitStack()
        self.gauges: list[Gauge] = [GroupLag(_lag(cluster, each), each.group, each.max_lag) for each in limits.groups]
        if self._probe is not None and limits.produce_latency is not None:
            self.gauges.append(ProduceLatency(self._probe, limits.produce_latency))

    def __enter__(self) -> Self:
        if self._probe is not None:
            self._open.enter_context(self._probe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def measure_before(self, stop: threading.Event) -> None:
        """Measure before anything moves, for `BEFORE`; what comes later is measured as during the moves."""
        if self._probe is None:
            return
        stop.wait(WARM_UP)
        self._probe.phase = self._before
        stop.wait(BEFORE)
        self._probe.phase = Latencies()

    def now(self) -> str:
        """Say how long producers wait at present; empty if that is not measured."""
        return "" if self._probe is None or self._probe.refused else _ms(self._probe.recent_p99())

    def times(self) -> ProduceTimes:
        """Say how long producers have waited."""
        if self._probe is None:
            return ProduceTimes(why_not=f"there is no topic {PROBE_TOPIC}; `redrive topics apply` makes it")
        if self._probe.refused:
            return ProduceTimes(why_not=self._probe.refused)
        during = self._probe.phase
        return ProduceTimes(self._before.p99(), during.p99(), during.events)


def _lag(cluster: Cluster, each: WatchedGroup) -> ConsumerLag:
    return ConsumerLag(cluster.client_config(), each.group, None, each.max_lag)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f} ms"
