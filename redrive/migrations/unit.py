"""What a backfill works at: one partition of a topic, on its way to the same partition of another."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import Message

from redrive.columnar.records import Record
from redrive.events import Headers, headers_of
from redrive.pump.names import SOURCE_HEADER

JOB = "schema-backfill"
STREAM = "events"
_BETWEEN = f"/{STREAM}/".encode()


@dataclass(frozen=True, slots=True)
class Unit:
    """One partition's way.

    Attributes:
        cluster: on which both topics are.
        source: the topic that is read.
        target: the topic that is written.
        partition: of both.
    """

    cluster: str
    source: str
    target: str
    partition: int

    @property
    def name(self) -> str:
        """The unit's name for the pump, and the beginning of its events' origins."""
        return f"{way(self.cluster, self.source, self.target)}/{self.partition}"

    @property
    def origins(self) -> str:
        """How the unit's events are named, in the manner of `redrive.pump.proof`: ``origins % offset``."""
        return f"{self.name}/{STREAM}/%d/0"

    @property
    def back(self) -> bytes:
        """How the origins begin of events that the way back has brought to this partition of the source."""
        return f"{way(self.cluster, self.target, self.source)}/{self.partition}/".encode()

    def __str__(self) -> str:
        return f"{self.source}/{self.partition}"


def way(cluster: str, source: str, target: str) -> str:
    """Name the way from a topic to another."""
    return f"backfill/{cluster}/{source}/{target}"


def source_offset(origin: bytes, unit: str) -> int | None:
    """Say at which offset of the source an event stood, by its origin; None if it has not come this way.

    Args:
        origin: what the event says of that.
        unit: the unit's name. An event stays in its partition: one of another has been copied on, headers and all, by
            somebody else.
    """
    begins, _, rest = origin.partition(_BETWEEN)
    offset = rest.removesuffix(b"/0")
    return int(offset) if begins == unit.encode() and offset.isdigit() and len(offset) < len(rest) else None


def origin_of(message: Message | Record) -> bytes | None:
    """Say where an event was brought from; None if no job has brought it."""
    return brought_from(headers_of(message))


def brought_from(headers: Headers) -> bytes | None:
    """Do as `origin_of`, for an event with these headers."""
    return headers[-1][1] if headers and headers[-1][0] == SOURCE_HEADER else None
