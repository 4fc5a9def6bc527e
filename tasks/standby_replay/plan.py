"""The plan of a standby replay: what waits where, and how long it will take. Pure: surveys in, plan out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from redrive.clusters import ClusterTopic
from redrive.ledger import OperationRow
from redrive.standby.lanes import Lane
from redrive.standby.schema_ids import SchemaIds
from redrive.standby.survey import LaneBacklog

JOB = "standby-replay"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay would bring back.

    Attributes:
        lanes: the lanes that are not open, in order.
        open: the other lanes: nothing waits in them.
        untidy: those of them with events that are published and not yet deleted.
        rate: events a second that it may take at most; None is full speed.
        speed: events a second that earlier replays reached; None if there were none.
        schemas: the schema ids that were looked at.
        expiring: topics with events older than their retention → that, in milliseconds.
        surveyed_at: when, milliseconds since 1970.
    """

    lanes: tuple[LaneBacklog, ...]
    open: tuple[Lane, ...]
    untidy: tuple[Lane, ...]
    rate: float | None
    speed: float | None
    schemas: SchemaIds
    surveyed_at: int
    expiring: Mapping[ClusterTopic, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether every lane is open: nothing to replay."""
        return not self.lanes

    @property
    def events(self) -> int:
        """Events that wait."""
        return sum(lane.events for lane in self.lanes)

    @property
    def bytes(self) -> int:
        """Packed bytes that wait."""
        return sum(lane.bytes for lane in self.lanes)

    @property
    def doubtful(self) -> int:
        """Events that may be in Kafka already."""
        return sum(lane.doubtful for lane in self.lanes)

    @property
    def oldest(self) -> int | None:
        """When the oldest event was accepted, milliseconds since 1970."""
        return min((lane.oldest for lane in self.lanes if lane.oldest is not None), default=None)

    @property
    def topics(self) -> list[ClusterTopic]:
        """Cluster and name of each topic that has something to replay."""
        return sorted({(backlog.lane.cluster, backlog.lane.topic) for backlog in self.lanes})

    @property
    def seconds(self) -> float | None:
        """How long it will take, by the rate and by the speed of earlier replays; None if neither is known."""
        paces = [pace for pace in (self.rate, self.speed) if pace]
        return self.events / min(paces) if paces else None

    @property
    def all_lanes(self) -> list[Lane]:
        """Every lane that was surveyed."""
        return [*(backlog.lane for backlog in self.lanes), *self.open]

    @property
    def surveyed(self) -> set[ClusterTopic]:
        """Cluster and name of each topic that was surveyed."""
        return {(lane.cluster, lane.topic) for lane in self.all_lanes}

    def of_topics(self, topics: Iterable[ClusterTopic]) -> list[LaneBacklog]:
        """Give the lanes of some topics."""
        wanted = set(topics)
        return [backlog for backlog in self.lanes if (backlog.lane.cluster, backlog.lane.topic) in wanted]

    def canonical(self) -> dict[str, Any]:
        """Give what the plan's digest is made of: the state that was found, and nothing about this very moment."""
        return {
            "job": JOB,
            "rate": self.rate,
            "lanes": [
                {
                    "cluster": backlog.lane.cluster,
                    "topic": backlog.lane.topic,
                    "lane": backlog.lane.number,
                    "state": backlog.state,
                    "epochs": list(backlog.epochs),
                    "streams": backlog.streams,
                    "events": backlog.events,
                    "bytes": backlog.bytes,
                    "oldest": backlog.oldest,
                    "doubtful": backlog.doubtful,
                }
                for backlog in self.lanes
            ],
            "unknown_schema_ids": list(self.schemas.unknown),
        }


def make_plan(
    backlog: Sequence[LaneBacklog],
    schemas: SchemaIds,
    *,
    rate: float | None,
    earlier: Iterable[OperationRow],
    now: int,
    retention: Mapping[ClusterTopic, int] = MappingProxyType({}),
) -> Plan:
    """Make the plan.

    Args:
        backlog: the survey.
        schemas: what is known of its schema ids.
        rate: events a second at most; None is full speed.
        earlier: operations of this job, newest first; the last three that measured a speed count.
        now: milliseconds since 1970.
        retention: topic → how long it keeps its events by their times, in milliseconds; those that keep them for ever
            are left out.
    """
    waiting = tuple(lane for lane in backlog if not lane.is_open)
    expiring = {
        (cluster, topic): kept
        for (cluster, topic), kept in retention.items()
        for each in waiting
        if (each.lane.cluster, each.lane.topic) == (cluster, topic) and each.oldest and now - each.oldest > kept
    }
    speeds = [speed for row in earlier if row.evidence and (speed := row.evidence.get("events_per_second"))]
    latest = sorted(speeds[:3])
    return Plan(
        lanes=waiting,
        open=tuple(lane.lane for lane in backlog if lane.is_open),
        untidy=tuple(lane.lane for lane in backlog if lane.is_open and lane.untidy),
        rate=rate,
        speed=latest[len(latest) // 2] if latest else None,
        schemas=schemas,
        surveyed_at=now,
        expiring=expiring,
    )
