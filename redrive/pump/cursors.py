"""Where cursors are kept: a compacted topic on the cluster that is published to, one key for each unit.

They go there in the same transaction as the events (see `redrive.pump.sink`), so that no cursor can disagree with what
was published. Each also names its owner: the sink that started last. A sink that finds itself fenced learns from it
whether another has taken over, or whether it only stood still for longer than brokers keep a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from redrive.errors import ConfigError, UnknownTopicError
from redrive.events import headers_of
from redrive.murmur2 import partition_of
from redrive.pump.own_topics import ensure
from redrive.pump.readback import ClientConfig, end_offsets, scan

CURSORS_TOPIC = "redrive.checkpoints"

PARTITIONS = 12
"""A unit's partition is ``murmur2(unit) % 12``, however many there are: adding partitions must not lose a cursor."""

OWNER_HEADER = "redrive-owner"

_CONFIG = {
    "cleanup.policy": "compact",
    # A unit writes about one cursor a second; small segments let the cleaner keep what a start has to read short.
    "segment.bytes": str(8 << 20),
    "segment.ms": str(3_600_000),
    "min.cleanable.dirty.ratio": "0.1",
    "max.message.bytes": str(8 << 20),
}


def cursor_partition(unit: str) -> int:
    """Say which partition holds a unit's cursor."""
    return partition_of(unit.encode(), PARTITIONS)


def ensure_topic(client_config: ClientConfig, topic: str = CURSORS_TOPIC) -> None:
    """Create the topic if there is none, with as many replicas as the cluster has brokers, at most 3.

    Raises:
        ConfigError: it has fewer than 12 partitions, or may not be created.
        UnavailableError: the cluster does not answer.
    """
    _check(ensure(client_config, topic, PARTITIONS, _CONFIG, "checkpoints"), topic)


def read_cursor(
    client_config: ClientConfig, unit: str, topic: str = CURSORS_TOPIC, *, patience: float = 60.0
) -> bytes | None:
    """Return the newest committed cursor of a unit; None if it has none.

    While the unit runs elsewhere this is only a look: what makes it the truth is that nobody else can commit any more,
    which starting the unit's sink sees to first.

    Raises:
        UnknownTopicError: the cluster has no such topic.
        UnavailableError: the cluster does not answer in time.
    """
    return read_saved(client_config, unit, topic, patience=patience).cursor


def read_cursors(client_config: ClientConfig, units: Iterable[str]) -> dict[str, bytes]:
    """Look at many units' cursors, in one pass: unit → cursor; units without one are left out.

    Raises:
        UnavailableError: the cluster does not answer in time.
    """
    wanted = {unit.encode(): unit for unit in units}
    try:
        ends = end_offsets(client_config, CURSORS_TOPIC)
    except UnknownTopicError:  # no job has ever published there
        return {}
    _check(len(ends), CURSORS_TOPIC)
    partitions = {cursor_partition(unit) for unit in wanted.values()}
    found: dict[str, bytes] = {}
    for messages in scan(client_config, CURSORS_TOPIC, end={at: ends[at] for at in partitions}):
        for message in messages:
            unit = wanted.get(message.key() or b"")
            if unit is not None and message.value():
                found[unit] = cast(bytes, message.value())
            elif unit is not None and message.value() is None:
                found.pop(unit, None)
    return found


@dataclass(frozen=True, slots=True)
class Saved:
    """A unit's newest record.

    Attributes:
        cursor: None if it has none yet.
        owner: the token of the sink that started last; None before the first.
    """

    cursor: bytes | None = None
    owner: bytes | None = None


def read_saved(client_config: ClientConfig, unit: str, topic: str, *, patience: float) -> Saved:
    """Return the newest committed record of a unit. Raises as `read_cursor` does."""
    partition = cursor_partition(unit)
    ends = end_offsets(client_config, topic)
    _check(len(ends), topic)
    key = unit.encode()
    newest = None
    for messages in scan(client_config, topic, end={partition: ends[partition]}, patience=patience):
        for message in messages:
            if message.key() == key:
                newest = message
    if newest is None:
        return Saved()
    owner = dict(headers_of(newest)).get(OWNER_HEADER)
    # An owner that has started and not yet committed leaves an empty cursor.
    return Saved(newest.value() or None, owner)


def _check(partitions: int, topic: str) -> None:
    if partitions < PARTITIONS:
        raise ConfigError(
            "checkpoints", f"topic {topic!r} has {partitions} partitions; cursors need {PARTITIONS}: add some"
        )
