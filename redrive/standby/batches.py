"""How a stream's slots hold events: packed with MessagePack, compressed with Zstandard.

A slot holds a *batch*, not an event: that is speed (measured: a hundred times more events a second than one item an
event) and, in AWS, money, since write units are counted per kilobyte. An event too large for one item is cut into
``part`` slots that follow each other and end with its ``events`` slot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import zstandard

from redrive.events import Headers
from redrive.standby.store import MAX_ITEM_BYTES, Slot

ITEM_BYTES = MAX_ITEM_BYTES - 4096
"""Room for data in one item: the limit, less names, key and counters."""

BATCH_BYTES = 512 * 1024
"""Uncompressed bytes at which a batch is closed. Most shrink well below the limit; the rest is cut into parts."""

BATCH_EVENTS = 2000
"""Events at which a batch is closed."""


class Stored(msgspec.Struct, array_like=True, gc=False):
    """One event in a stream.

    Attributes:
        id: the event's id.
        key: its key.
        value: its bytes as they go to Kafka.
        headers: its headers, in order.
        accepted: when its producer accepted it, milliseconds since 1970; also Kafka's timestamp. Within a stream it
            falls only if the producer's clock was set back by much.
        partition: a fixed partition, or None.
        doubtful: True if it was handed to Kafka and taken back: it may be there already.
    """

    id: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    accepted: int
    partition: int | None = None
    doubtful: bool = False

    def size(self) -> int:
        """Return about how many bytes it takes uncompressed."""
        headers = sum(len(name) + (len(value) if value else 0) + 4 for name, value in self.headers)
        return len(self.id) + len(self.key or b"") + len(self.value or b"") + headers + 24


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Stored])
_local = threading.local()


def pack(events: Sequence[Stored], token: str) -> list[Slot]:
    """Return the slots, nearly always one, that hold these events.

    Args:
        events: in order.
        token: unique for this batch; its parts get it with a number.
    """
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=1)
    data: bytes = _local.compressor.compress(_encoder.encode(events))
    cuts = [data[i : i + ITEM_BYTES] for i in range(0, len(data), ITEM_BYTES)]
    parts = [Slot("part", f"{token}.{i}", cut) for i, cut in enumerate(cuts[:-1])]
    doubtful = sum(event.doubtful for event in events)
    return [*parts, Slot("events", token, cuts[-1], len(events), doubtful, events[0].accepted)]


def unpack(slots: Iterable[tuple[int, Slot]]) -> Iterator[tuple[int, Slot, list[Stored]]]:
    """Yield slot number, slot and events of each batch of a stream, with its parts put together.

    Parts whose last slot never came (their producer was stopped between two) hold no acknowledged event: passed over.
    """
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    parts: list[Slot] = []
    for number, slot in slots:
        if slot.kind == "part":
            if parts and _base(slot) != _base(parts[-1]):
                parts = []
            parts.append(slot)
        elif slot.kind == "events":
            whole = [part.data for part in parts if _base(part) == slot.token]
            parts = []
            data = _local.decompressor.decompress(b"".join([*whole, slot.data]))
            yield number, slot, _decoder.decode(data)


def _base(part: Slot) -> str:
    return part.token.rpartition(".")[0]
