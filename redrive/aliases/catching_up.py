"""Whether a topic has been copied to its end: what its events have to wait for that are published to the copy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from redrive.errors import UnavailableError, UnknownTopicError
from redrive.migrations.positions import Positions
from redrive.migrations.source import position
from redrive.migrations.unit import Unit
from redrive.pump.cursors import read_cursors
from redrive.pump.readback import ClientConfig, cluster_name, end_offsets, offset_reader, start_offsets

_EVERY = 0.2
_TIMEOUT = 10.0
_AT_ONCE = 200_000
"""Offsets of a partition that are looked at before the caller is asked again: under a second."""

_came_back: dict[tuple[str, Unit], int] = {}
"""Cluster's address and unit → up to where all that is not copied was found to have come from the target. Of the whole
process, since each lane's replay asks, and a topic may have been fed back for weeks."""
_looking = threading.Lock()


def is_copied(
    client_config: ClientConfig, cluster: str, source: str, target: str, ends: Sequence[int] | None = None
) -> bool:
    """Say whether all that a topic holds now, or held when it had these ends, is in another one for good.

    A topic that is gone has nothing left to be copied. What this finds copied can be read in the target: a backfill's
    cursor is in the same transaction as its events. What a backfill the other way has brought has come from there; it
    is looked for behind the cursor, so much at a time: False may also mean that not all has been looked at yet.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    try:
        ends = end_offsets(client_config, source) if ends is None else ends
        units = [Unit(cluster, source, target, partition) for partition in range(len(ends))]
        backs = [Unit(cluster, target, source, partition).name for partition in range(len(ends))]
        saved = read_cursors(client_config, [*(unit.name for unit in units), *backs])
        copied = [position(saved.get(unit.name)) for unit in units]
        if all((at or 0) >= end for at, end in zip(copied, ends, strict=True)):
            return True
        # Of what is empty, nothing is ever copied.
        lows = start_offsets(client_config, source)
        begins = [low if at is None else at for at, low in zip(copied, lows, strict=True)]
        short = {unit: (at, end) for unit, at, end in zip(units, begins, ends, strict=True) if at < end}
        if any(backs[unit.partition] not in saved for unit in short):
            return False  # nothing has been brought back there
        with _looking:
            return not short or _have_come_back(client_config, short)
    except UnknownTopicError:
        return True


def _have_come_back(client_config: ClientConfig, ranges: Mapping[Unit, tuple[int, int]]) -> bool:
    """Look some further whether all in these ranges of a source has come from its target; False: not yet known to."""
    one = next(iter(ranges))
    committed = end_offsets(client_config, one.source, committed=True)
    found = True
    with Positions(client_config, one.cluster, one.target, one.source) as positions:
        for unit, (at, end) in ranges.items():
            known = cluster_name(client_config), unit
            known_to, there = _came_back.get(known, 0), committed[unit.partition]
            first = max(at, known_to) if known_to <= there else at  # of a topic that was made anew, nothing is known
            until = max(first, min(end, there, first + _AT_ONCE))
            other = positions.first_other(unit.partition, first, until)
            _came_back[known] = until if other is None else other
            found &= _came_back[known] >= end
    return found


class CatchingUp:
    """Waits for a topic's copy, over and over; quick while nothing new comes to the topic. For one thread at a time.

    Args:
        client_config: the cluster.
        cluster: its name.
        source: the topic.
        target: the one that it is copied to.
    """

    def __init__(self, client_config: ClientConfig, cluster: str, source: str, target: str) -> None:
        self._client, self._cluster = client_config, cluster
        self._source, self._target = source, target
        self._copied: Sequence[int] | None = None
        self._consumer: Consumer | None = None
        self._gone = False

    def wait(self, patience: float, check: Callable[[], None] = lambda: None) -> None:
        """Wait until all that the topic holds now is in the other one.

        Args:
            patience: seconds to wait.
            check: called now and then; what it raises ends the wait.

        Raises:
            UnavailableError: it was not within that time, or the cluster does not answer.
        """
        if self._gone:
            return
        try:
            ends = self._ends()
        except UnknownTopicError:
            self._gone = True  # to be sure of that takes seconds
            return
        until = time.monotonic() + patience
        while ends != self._copied and not is_copied(self._client, self._cluster, self._source, self._target, ends):
            if time.monotonic() > until:
                raise UnavailableError(
                    f"topic {self._target}",
                    f"events that were published to {self._source} are not there yet, and what comes after them has to "
                    "wait: run schema-backfill (goal copy, or feed_back if it is the source that is behind), with "
                    "`follow_for` while anybody still publishes there",
                )
            check()
            time.sleep(_EVERY)
        self._copied = ends

    def _ends(self) -> list[int]:
        if self._copied is None or self._consumer is None:
            self._consumer = offset_reader(self._client)
            return end_offsets(self._client, self._source)
        try:
            return [
                self._consumer.get_watermark_offsets(TopicPartition(self._source, partition), timeout=_TIMEOUT)[1]
                for partition in range(len(self._copied))
            ]
        except KafkaException as error:
            self._copied = None  # whatever it is, next time it is asked in the way that says so
            named = f"Kafka {cluster_name(self._client)}"
            raise UnavailableError(named, f"{self._source}: {error.args[0].str()}") from error
