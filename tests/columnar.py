"""Columns of plain events, and of records that answer as confluent-kafka's messages do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from redrive.columnar.events import EventColumns
from redrive.columnar.loops import MARKED, ODD
from redrive.columnar.records import Column, Records, as_bytes
from redrive.events import UNREADABLE, Event, Headers
from redrive.pump.names import SOURCE_HEADER

BytesHeaders = Sequence[tuple[str | bytes, bytes | None]]
"""Headers, of which those with a name of bytes are not UTF-8."""


@dataclass(frozen=True)
class Plain:
    """A record as confluent-kafka gives it."""

    at: int
    has_key: bytes | None = b"k"
    has_value: bytes | None = b"v"
    has_headers: BytesHeaders = ()
    time: int = 1000
    kind: int = field(default=1)

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.has_key

    def value(self) -> bytes | None:
        return self.has_value

    def timestamp(self) -> tuple[int, int]:
        return self.kind, self.time

    def headers(self) -> Headers:
        headers = [(name, value) for name, value in self.has_headers if isinstance(name, str)]
        return headers if len(headers) == len(self.has_headers) else [UNREADABLE]


def column(values: Iterable[bytes | None]) -> Column:
    """Make a column; between bytes there are some of nobody."""
    data, begins, ends = b"", [], []
    for value in values:
        data += b"\xc1"
        begins.append(-1 if value is None else len(data))
        data += value or b""
        ends.append(-1 if value is None else len(data))
    return Column(as_bytes(data), np.array(begins, np.int64), np.array(ends, np.int64))


def packed(headers: BytesHeaders) -> bytes:
    """Pack headers as they are in columns."""
    pairs = [b"\x92" + _text(name) + msgspec.msgpack.encode(value) for name, value in headers]
    return msgspec.msgpack.encode([None] * len(pairs)).removesuffix(b"\xc0" * len(pairs)) + b"".join(pairs)


def _text(name: str | bytes) -> bytes:
    if isinstance(name, str):
        return msgspec.msgpack.encode(name)
    assert len(name) < 32
    return bytes([0xA0 | len(name)]) + name


def event_columns(events: Sequence[Event], topic: str, partition: int, origins: str) -> EventColumns:
    """Make columns of events of one partition for one other, whose origins these are."""
    before, after = origins.split("%d")
    return EventColumns(
        topic, partition, origins,
        np.array([int(event.origin.removeprefix(before).removesuffix(after)) for event in events], np.int64),
        np.array([event.timestamp for event in events], np.int64),
        column(event.key for event in events), column(event.value for event in events),
        column(packed(event.headers) for event in events),
    )  # fmt: skip


def records(messages: Sequence[Plain], back: bytes = b"") -> Records:
    """Make columns of records; special are those with such an origin."""
    return Records(
        np.array([each.at for each in messages], np.int64), np.array([each.time for each in messages], np.int64),
        np.array([each.kind for each in messages], np.int8), column(each.has_key for each in messages),
        column(each.has_value for each in messages), column(packed(each.has_headers) for each in messages),
        np.array([_special(each, back) for each in messages], np.int8),
    )  # fmt: skip


def _special(message: Plain, back: bytes) -> int:
    name, value = message.has_headers[-1] if message.has_headers else ("", None)
    marked = name == SOURCE_HEADER and (value or b"").startswith(back)
    odd = not all(isinstance(name, str) and name.isascii() for name, _ in message.has_headers)
    return (MARKED if marked else 0) | (ODD if odd else 0)
