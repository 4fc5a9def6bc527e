"""What was read of a partition, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from redrive.events import UNREADABLE, Headers

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Flags = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Column:
    """Bytes of many records.

    Attributes:
        data: all of them, one after the other, perhaps with others in between.
        begins: where a record's begin; -1 of null.
        ends: where they end.
    """

    data: Bytes
    begins: Numbers
    ends: Numbers

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, place: int) -> bytes | None:
        begin = self.begins[place]
        return None if begin < 0 else self.data[begin : self.ends[place]].tobytes()

    def each(self, skip: int = 0) -> list[bytes | None]:
        """Return all of them, without the first ``skip`` bytes of each."""
        data = self.data.tobytes()
        begins, ends = self.begins.tolist(), self.ends.tolist()
        return [None if begin < 0 else data[begin + skip : end] for begin, end in zip(begins, ends, strict=True)]

    @property
    def plain(self) -> tuple[Bytes, Numbers, Numbers]:
        """What compiled loops take."""
        return self.data, self.begins, self.ends

    def part(self, places: slice) -> Column:
        """Return those of some records."""
        return Column(self.data, np.ascontiguousarray(self.begins[places]), np.ascontiguousarray(self.ends[places]))


@dataclass(frozen=True, slots=True)
class Record:
    """One of them, which answers as confluent-kafka's ``Message`` does."""

    records: Records
    place: int

    def offset(self) -> int:
        """Return where it is."""
        return int(self.records.offsets[self.place])

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of its time, and milliseconds since 1970."""
        return int(self.records.kinds[self.place]), int(self.records.timestamps[self.place])

    def key(self) -> bytes | None:
        """Return its key."""
        return self.records.keys[self.place]

    def value(self) -> bytes | None:
        """Return its value."""
        return self.records.values[self.place]

    def headers(self) -> Headers:
        """Return its headers; see `redrive.events.headers_of`."""
        return unpacked(self.records.headers[self.place])


@dataclass(frozen=True, slots=True)
class Records(Sequence[Record]):
    """Records of one partition, in order.

    Attributes:
        offsets: where they are.
        timestamps: milliseconds since 1970.
        kinds: of these times, as confluent-kafka has them.
        keys: their keys.
        values: their values.
        headers: their headers, as MessagePack has an array of pairs.
        special: see `redrive.columnar.loops.take`; 0 for most.
    """

    offsets: Numbers
    timestamps: Numbers
    kinds: Flags
    keys: Column
    values: Column
    headers: Column
    special: Flags

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Records: ...
    def __getitem__(self, place: int | slice) -> Record | Records:
        if isinstance(place, slice):
            return Records(
                self.offsets[place], self.timestamps[place], self.kinds[place], self.keys.part(place),
                self.values.part(place), self.headers.part(place), self.special[place],
            )  # fmt: skip
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return Record(self, place)

    def before(self, offset: int) -> Records:
        """Return those before an offset."""
        return self[: int(np.searchsorted(self.offsets, offset))]


def as_bytes(data: bytes) -> Bytes:
    """Return bytes as loops take them."""
    return np.frombuffer(data, np.uint8)


def unpacked(headers: bytes | None) -> Headers:
    """Return headers of their column."""
    try:
        return _decoder.decode(headers or b"\x90")
    except (msgspec.DecodeError, UnicodeDecodeError):  # a name that is not UTF-8
        return [UNREADABLE]


_decoder = msgspec.msgpack.Decoder(Headers)
