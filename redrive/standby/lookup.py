"""Which of the events that may be in Kafka already are there: asked before a replay publishes any of them.

An event is known by its source and id, as CloudEvents has it. One that is found was there. Of one that is not, this
would be no answer if records may be gone since: the cleaner of a compacted topic leaves only the newest record of a
key, and retention deletes the oldest segments, though both were consumed long ago.

Then its successors answer for it. A producer hands the events of a stream to Kafka in their order, by one client, which
is idempotent and gapless: of what came back unconfirmed at a cut, brokers have taken, of each partition, a beginning
and nothing behind it. The doubtful events that a key has in a stream come from one cut, since after it the key's lane
goes back to Kafka only when it is opened, and then by another stream. So of a key, all that a stream holds before a
doubtful event was in the topic if that event is. It has to be that very record, told by its time of acceptance: another
gateway's record of an event that was sent again says nothing about this stream. (Only if partitions were added while
events of the key were under way are two of them in two partitions; then an older one that is not found has been
overtaken for good, by Kafka itself.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from redrive.envelope import Identity, header, identity
from redrive.murmur2 import partition_of
from redrive.pump.limits import limits_of
from redrive.pump.readback import ClientConfig, end_offsets, find_events, offsets_for_time, start_offsets
from redrive.standby.batches import Stored


class Doubtful(NamedTuple):
    """What a look-up has to know of an event; all of a lane's are kept at once.

    Attributes:
        producer: whose stream it is in.
        identity: source and id.
        time: its time of acceptance, as its headers have it.
        accepted: the same in milliseconds since 1970, or a little later: the record's timestamp.
        key: its key.
        partition: a fixed partition, or None.
    """

    producer: str
    identity: Identity
    time: bytes | None
    accepted: int
    key: bytes | None
    partition: int | None

    @classmethod
    def of(cls, producer: str, stored: Stored) -> Doubtful:
        """Keep what is needed of an event in a producer's stream."""
        return cls(
            producer,
            identity_of(stored),
            header(stored.headers, "ce_time"),
            stored.accepted,
            stored.key,
            stored.partition,
        )


def identity_of(stored: Stored) -> Identity:
    """Return source and id of an event in a stream; one without headers of its own has its id."""
    source, event_id = identity(stored.headers)
    return source, stored.id.encode() if event_id is None else event_id


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look-up has found.

    Attributes:
        present: the events that are in the topic, or were.
        unsure: how many of the others may have been there: of their time, the topic has deleted records.
    """

    present: Set[Identity] = frozenset()
    unsure: int = 0


def look_up(client_config: ClientConfig, topic: str, doubtful: Sequence[Doubtful], *, skew: float) -> Answer:
    """Find out which of some events are in a topic.

    Args:
        client_config: the cluster.
        topic: where they would be.
        doubtful: the events; those of a producer in the order of its stream.
        skew: seconds by which a broker's clock may differ; it matters only if that stamps records itself.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer in time.
    """
    since = min(each.accepted for each in doubtful) - int(skew * 1000)
    starts, lows = offsets_for_time(client_config, topic, since), start_offsets(client_config, topic)
    ends = end_offsets(client_config, topic)
    partitions = places(doubtful, starts, lows)
    span = {p: (starts[p], ends[p]) for p in partitions}
    found = find_events(client_config, topic, {each.identity for each in doubtful}, span)
    if len(found) == len({each.identity for each in doubtful}):
        return Answer(found.keys())
    cut = {p for p in partitions if starts[p] <= lows[p] and lows[p] > 0}
    if not cut and not limits_of(client_config, topic).keyed:
        return Answer(found.keys())
    present = found.keys() | followed(doubtful, found)
    missing = [each for each in doubtful if each.identity not in present]
    return Answer(present, sum(not cut.isdisjoint(places([each], starts, lows)) for each in missing) if cut else 0)


def places(doubtful: Iterable[Doubtful], starts: Sequence[int], lows: Sequence[int]) -> Collection[int]:
    """Say in which partitions events may be.

    A key's partition was another one if partitions have been added since. Whether any could have been shows: of the
    time before the events, none that was added has a record.

    Args:
        doubtful: the events.
        starts: partition → the offset before which every record is older than they are.
        lows: partition → its first offset.
    """
    count = len(starts)
    may_have_grown = starts[-1] <= lows[-1]
    found = set()
    for each in doubtful:
        if each.partition is not None:
            found.add(each.partition)
        elif may_have_grown or not each.key:  # without a key, it may be anywhere
            return range(count)
        else:
            found.add(partition_of(each.key, count))
    return [p for p in sorted(found) if p < count]


def followed(doubtful: Sequence[Doubtful], found: Mapping[Identity, Set[bytes | None]]) -> set[Identity]:
    """Return the events that were in the topic because a later one of their stream and key is; see above.

    Args:
        doubtful: the events; those of a producer in the order of its stream.
        found: those that are in the topic → the times of acceptance that they have there.
    """
    there: set[Identity] = set()
    proved: set[tuple[str, bytes]] = set()
    for each in reversed(doubtful):
        if not each.key or each.partition is not None:
            continue
        if (each.producer, each.key) in proved:
            there.add(each.identity)
        elif each.time is not None and each.time in found.get(each.identity, ()):
            proved.add((each.producer, each.key))
    return there
