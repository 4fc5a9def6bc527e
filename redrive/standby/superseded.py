"""What a compacted topic may lack of a replay: events that have a later one of their key there.

The cleaner may come between a replay and its proof. Then events are missing, and which can't be told from a sum. But
the store still has all of them (it is tidied up once they are proved), so it is asked for the newest of each key: that,
or a later record of the key, must be in the topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from redrive.events import headers_of
from redrive.pump.evidence import Evidence
from redrive.pump.names import OPERATION_HEADER, SOURCE_HEADER
from redrive.pump.readback import ClientConfig, scan
from redrive.standby.lanes import Lane, LaneLog
from redrive.standby.store import Store
from redrive.standby.streams import Position, StreamReader


@dataclass(slots=True)
class Newest:
    """The newest events that streams hold of a key; which of two streams' came last is not told.

    Attributes:
        origins: where each is in the store.
        accepted: when the last of them was, milliseconds since 1970.
        deletion: one of them is a tombstone, which the cleaner may take as well.
    """

    origins: dict[str, str] = field(default_factory=dict)
    accepted: int = 0
    deletion: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """The newest record of a key in the topic.

    Attributes:
        origin: where the replay has it from; empty if it was published by somebody else.
        time: its timestamp.
    """

    origin: str
    time: int


def is_superseded(newest: Newest, record: Record | None) -> bool:
    """Say whether a compacted topic that has this record may lack all the other events of its key."""
    if record is None:
        return newest.deletion
    if record.origin:
        return record.origin in newest.origins.values()
    return record.time >= newest.accepted


def find_lost(
    client_config: ClientConfig,
    store: Store,
    topic: str,
    epochs: Mapping[Lane, Iterable[int]],
    *,
    published: Iterable[Evidence],
    operation: str,
) -> list[str]:
    """Say of which keys the topic has neither the newest event that was replayed nor a later one.

    Args:
        client_config: the cluster.
        store: the standby table, not tidied up yet.
        topic: a compacted topic, the lanes' own.
        epochs: what was replayed, of each lane.
        published: what the lanes say they have published there.
        operation: the one that has replayed them.

    Returns:
        The origin of such an event for each key.

    Raises:
        UnavailableError: the cluster or the store does not answer.
    """
    newest = _newest(store, epochs)
    starts = [evidence.start for evidence in published]
    width = max(map(len, starts), default=0)
    start = {p: min(s[p] if p < len(s) else 0 for s in starts) for p in range(width)}
    records = _records(client_config, topic, start, newest, operation.encode())
    lost = [of for key, of in newest.items() if not is_superseded(of, records.get(key))]
    return [next(iter(of.origins.values())) for of in lost]


def _newest(store: Store, epochs: Mapping[Lane, Iterable[int]]) -> dict[bytes, Newest]:
    newest: dict[bytes, Newest] = {}
    for lane, of_lane in epochs.items():
        for epoch in of_lane:
            for producer in LaneLog(store, lane).producers(epoch):
                pk = lane.stream(epoch, producer)
                reader = StreamReader(store, pk, producer, Position(), horizon=None, checked=_ALL)
                while reader.head is not None:
                    taken = reader.take(None, _ALL)
                    for index, stored in enumerate(taken.events, taken.first):
                        of = newest.setdefault(stored.key or b"", Newest())
                        of.origins[pk] = f"{lane.unit}/{epoch}.{producer}/{taken.slot}/{index}"
                        of.accepted = max(of.accepted, stored.accepted)
                        of.deletion = of.deletion or stored.value is None
    return newest


def _records(
    client_config: ClientConfig, topic: str, start: Mapping[int, int], keys: Mapping[bytes, Newest], operation: bytes
) -> dict[bytes, Record]:
    records: dict[bytes, Record] = {}
    for messages in scan(client_config, topic, start):
        for message in messages:
            key = message.key() or b""
            if key in keys:
                headers = headers_of(message)
                ours = headers[-2:-1] == [(OPERATION_HEADER, operation)] and headers[-1][0] == SOURCE_HEADER
                origin = (headers[-1][1] or b"").decode() if ours else ""
                records[key] = Record(origin, message.timestamp()[1])
    return records


_ALL = 1 << 62
