"""What a unit keeps about what it published, so that a read-back can be compared with it: a few bytes a topic.

The content of a topic is summed up as a multiset: each event's 128-bit hash over its origin, key, value and
headers is added up modulo 2**128. The sum depends on no order, so that chunks, partitions and resumed runs simply add.
The hash (XXH3) finds accidents, not forgeries: who could forge it could publish as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from xxhash import xxh3_128_intdigest

from redrive.columnar.events import EventColumns
from redrive.events import Event

_DIGEST = 1 << 128
_TIMES = 1 << 64

pack = msgspec.msgpack.Encoder().encode
"""Packs ``(origin, key, value, headers)`` unambiguously, in one call into C."""

fingerprint = xxh3_128_intdigest
"""Hashes packed bytes to an integer below 2**128."""


class Evidence(msgspec.Struct, array_like=True, frozen=True):
    """What one unit published to one topic in one operation.

    Attributes:
        count: how many events.
        digest: the multiset hash of their origins, keys, values and headers, 16 bytes, big-endian.
        times: the sum of their timestamps modulo 2**64.
        start: for each partition, its end before the unit published anything; empty if unknown.
    """

    count: int = 0
    digest: bytes = bytes(16)
    times: int = 0
    start: tuple[int, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        digest = (int.from_bytes(self.digest, "big") + int.from_bytes(other.digest, "big")) % _DIGEST
        return Evidence(
            self.count + other.count,
            digest.to_bytes(16, "big"),
            (self.times + other.times) % _TIMES,
            self.start or other.start,
        )


def evidence(count: int, digest: int, times: int, start: Sequence[int] = ()) -> Evidence:
    """Make evidence from plain sums."""
    return Evidence(count, (digest % _DIGEST).to_bytes(16, "big"), times % _TIMES, tuple(start))


class Tally:
    """Adds up evidence while a chunk is put together.

    Attributes:
        size: bytes of what was added, packed: keys, values, headers and origins.
    """

    def __init__(self) -> None:
        self.size = 0
        self._topics: dict[str, tuple[int, int, int]] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Add events, which may be for several topics."""
        if isinstance(events, EventColumns):
            self._add_columns(events)
            return
        size = 0
        topic = None
        count = digest = times = 0
        for event in events:
            if event.topic != topic:
                if topic is not None:
                    self._topics[topic] = (count, digest, times)
                topic = event.topic
                count, digest, times = self._topics.get(topic, (0, 0, 0))
            packed = pack((event.origin.encode(), event.key, event.value, event.headers))
            size += len(packed)
            digest += fingerprint(packed)
            times += event.timestamp
            count += 1
        if topic is not None:
            self._topics[topic] = (count, digest, times)
        self.size += size

    def _add_columns(self, events: EventColumns) -> None:
        if not events:
            return
        from redrive.columnar.summing import summed

        size, digest, times = summed(events)
        before = self._topics.get(events.topic, (0, 0, 0))
        self._topics[events.topic] = (before[0] + len(events), before[1] + digest, before[2] + times)
        self.size += size

    def topics(self) -> dict[str, Evidence]:
        """Return the evidence so far, by topic."""
        return {topic: evidence(*sums) for topic, sums in self._topics.items()}
