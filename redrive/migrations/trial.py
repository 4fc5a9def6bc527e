"""Tries a migration on events of a topic, without writing anything: how many it takes, and why not the rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from redrive.errors import WireFormatError
from redrive.events import Event
from redrive.migrations.migration import Migration
from redrive.migrations.round_trip import Returned, RoundTrip
from redrive.migrations.source import events_of
from redrive.migrations.survey import Standing
from redrive.pump.model import Chunk, Rejected, Skipped, Transform, Transformed
from redrive.pump.readback import ClientConfig, scan
from redrive.schemas import SchemaRegistry
from redrive.wire import schema_id_of

MOST_BACK = 1_000
"""Events that are taken up and down again."""

_RANGES = 5
_MOST_REASONS = 50
_MOST_PLACES = 3


@dataclass(slots=True)
class Trial:
    """What trying has shown.

    Attributes:
        events: so many were tried.
        whole: all that there were.
        migrated: would get a new value.
        unchanged: would go on as they are: tombstones, and events of the target's schema.
        skipped: reason → events that a rule leaves out.
        rejected: reason → events that can't be migrated.
        places: reason → the first events that it is about, as ``topic/partition@offset``.
        schemas: schema id → events that are written with it; None: those without a frame, tombstones too.
        before: bytes of the values of those that would get a new one.
        after: bytes of their new values.
        seconds: how long it took, reading included.
    """

    whole: bool
    events: int = 0
    migrated: int = 0
    unchanged: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    schemas: Counter[int | None] = field(default_factory=Counter)
    before: int = 0
    after: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Back:
    """What taking events up and down again has shown.

    Attributes:
        events: so many were tried.
        lost: path of a field → events in which it is not what it was.
        stayed: reason → events that did not come back.
    """

    events: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    stayed: Counter[str] = field(default_factory=Counter)


def try_out(
    client_config: ClientConfig, standings: Sequence[Standing], transform: Transform, *, sample: int | None
) -> Trial:
    """Try a migration on what has not been copied yet.

    Args:
        client_config: the cluster.
        standings: the partitions.
        transform: the migration.
        sample: about so many events of each partition, from five places; None: all.

    Raises:
        UnavailableError: the cluster or the registry does not answer.
    """
    return try_on(_chunks(client_config, standings, sample), transform, whole=sample is None)


def try_on(chunks: Iterator[Chunk], transform: Transform, *, whole: bool) -> Trial:
    """Try a migration on events.

    Args:
        chunks: the events.
        transform: the migration.
        whole: whether that is all that there are.

    Raises:
        UnavailableError: the cluster or the registry does not answer.
    """
    trial, began = Trial(whole), time.monotonic()
    for chunk, became in transform(chunks):
        for event, now in zip(chunk.events, became, strict=True):
            _add(trial, event, now)
    trial.seconds = time.monotonic() - began
    return trial


def _chunks(client_config: ClientConfig, standings: Sequence[Standing], sample: int | None) -> Iterator[Chunk]:
    for standing in standings:
        unit = standing.unit
        for first, end in _ranges(standing.begin, standing.end, sample):
            start, stop = {unit.partition: first}, {unit.partition: end}
            for messages in scan(client_config, unit.source, start, end=stop):
                yield Chunk(events_of(messages, unit), b"")


def try_back(client_config: ClientConfig, standings: Sequence[Standing], migration: Migration) -> Back:
    """Take some events up and down again, to tell what the way back would lose.

    Raises:
        UnavailableError: the cluster or the registry does not answer.
    """
    back = Back()
    registry = SchemaRegistry(migration.registry)
    try:
        trip = RoundTrip(migration.recipe, registry.schema)
        for chunk in _chunks(client_config, standings, MOST_BACK // max(1, len(standings))):
            for event in chunk.events:
                returned = trip.round_trip(event)
                back.events += 1
                if isinstance(returned, Returned):
                    back.lost.update(returned.lost)
                else:
                    back.stayed[_bounded(back.stayed, returned.reason)] += 1
    finally:
        registry.close()
    return back


def _ranges(begin: int, end: int, sample: int | None) -> list[tuple[int, int]]:
    """Give the offsets to read, as first and last + 1."""
    left = end - begin
    if left <= 0:
        return []
    if sample is None or left <= sample:
        return [(begin, end)]
    width = max(1, sample // _RANGES)
    places = (begin + number * (left - width) // (_RANGES - 1) for number in range(_RANGES))
    return [(first, first + width) for first in places]


def _add(trial: Trial, event: Event, became: Transformed) -> None:
    trial.events += 1
    trial.schemas[_schema_id(event.value)] += 1
    if became is event:
        trial.unchanged += 1
    elif isinstance(became, Event):
        trial.migrated += 1
        trial.before += len(event.value or b"")
        trial.after += len(became.value or b"")
    elif isinstance(became, Skipped):
        trial.skipped[_bounded(trial.skipped, became.reason)] += 1
    elif isinstance(became, Rejected):
        reason = _bounded(trial.rejected, became.reason)
        trial.rejected[reason] += 1
        if len(places := trial.places.setdefault(reason, [])) < _MOST_PLACES:
            places.append(_place(event))


def _schema_id(value: bytes | None) -> int | None:
    try:
        return None if value is None else schema_id_of(value)
    except WireFormatError:
        return None


def _bounded(reasons: Counter[str], reason: str) -> str:
    return reason if reason in reasons or len(reasons) < _MOST_REASONS else "other reasons"


def _place(event: Event) -> str:
    *_, source, _, partition, _, offset, _ = event.origin.split("/")
    return f"{source}/{partition}@{offset}"
