"""The order guard: has a newer event of a letter's key passed on its main topic already?

A letter comes back late, by its nature. Where consumers keep the last event of a key as its state, an old one that
comes after a newer one undoes it. So the main topic is read, from the time of the oldest letter on, and of each key
that has a letter, the newest event's time is kept.

What it can't know: whether a producer's clock was right (it goes by the times of the events), whether an event that is
younger by less than a millisecond is newer, and what is published while the correction itself is under way. Letters of
one key that stand in two dead-letter partitions, such as those of two producers, are such a case: their partitions are
worked at side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Literal

from redrive.events import headers_of
from redrive.pump.names import OPERATION_HEADER
from redrive.pump.readback import ClientConfig, end_offsets, offsets_for_time, scan

Policy = Literal["hold", "publish", "skip"]
"""What becomes of a letter whose key has a newer event: it stays as it is, and open; it is published all the same; or
it is given up."""

NEWER_EVENT = "newer-event"
"""The reason of the fates ``held`` and ``skipped`` that the guard gives."""


def newest_events(
    client_config: ClientConfig,
    topic: str,
    keys: Set[bytes],
    since_ms: int,
    *,
    but_of: str,
    on_progress: Callable[[int, int], None] = lambda _read, _total: None,
) -> dict[bytes, int]:
    """Find the newest event of each key.

    Memory is bounded by the keys, not by the topic.

    Args:
        client_config: the cluster.
        topic: the main topic.
        keys: those to look for.
        since_ms: no event before this is of interest; milliseconds since 1970.
        but_of: the operation whose own events do not count: what it published itself is no reason to stop there.
        on_progress: hears how many events were read, and of about how many, after each batch.

    Returns:
        Key → time of its newest event, in milliseconds since 1970; keys without any are left out.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    newest: dict[bytes, int] = {}
    if not keys:
        return newest
    own = (OPERATION_HEADER, but_of.encode())
    start = dict(enumerate(offsets_for_time(client_config, topic, since_ms)))
    end = dict(enumerate(end_offsets(client_config, topic)))
    read, total = 0, sum(end[partition] - first for partition, first in start.items())
    for messages in scan(client_config, topic, start, end=end):
        for message in messages:
            key = message.key()
            if key is None or key not in keys:
                continue
            when = message.timestamp()[1]
            if when > newest.get(key, -1) and own not in headers_of(message):
                newest[key] = when
        read += len(messages)
        on_progress(read, total)
    return newest


class OrderGuard:
    """What was found on the main topics of a batch.

    Args:
        newest: main topic → key → time of its newest event.
    """

    def __init__(self, newest: Mapping[str, Mapping[bytes, int]]) -> None:
        self._newest = newest

    def overtaken(self, topic: str, key: bytes | None, timestamp: int) -> bool:
        """Say whether a newer event of the key is on the topic; never for events without a key."""
        return key is not None and self._newest.get(topic, {}).get(key, -1) > timestamp
