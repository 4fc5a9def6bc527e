"""What rules can ask about besides a value: the dead letter that it is in, or the event that is migrated."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from cel_expr_python import cel
from google.protobuf.timestamp_pb2 import Timestamp

from redrive.events import Event
from redrive.wire import HEADER_SIZE

Take = Callable[[Any], Any]

_T = cel.Type
_HEADERS = _T.Map(_T.STRING, _T.BYTES)


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """A kind of thing that values belong to.

    Attributes:
        word: what it is called.
        types: what expressions can ask of it, such as ``letter.reason``, and which type that has in CEL.
        takes: how each of these is taken from it.
        kind: gives all that rules match it by without looking at its value; None: they don't.
    """

    word: str
    types: Mapping[str, cel.Type]
    takes: Mapping[str, Take]
    kind: Callable[[Any], Hashable] | None = None


def _subject(word: str, parts: Mapping[str, tuple[cel.Type, Take]], kind: Callable[[Any], Hashable] | None) -> Subject:
    types = {f"{word}.{name}": type_ for name, (type_, _) in parts.items()}
    return Subject(word, types, {f"{word}.{name}": take for name, (_, take) in parts.items()}, kind)


def _headers(about: Any) -> dict[str, bytes]:
    return {name: value for name, value in about.headers if value is not None}


def _schema_id(event: Event) -> int | None:
    framed = event.value or b""
    return int.from_bytes(framed[1:HEADER_SIZE], "big") if len(framed) >= HEADER_SIZE else None


def _timestamp(event: Event) -> Timestamp:
    moment = Timestamp()
    moment.FromMilliseconds(event.timestamp)
    return moment


LETTER = _subject(
    "letter",
    {
        "reason": (_T.STRING, attrgetter("reason")),
        "detail": (_T.STRING, attrgetter("detail")),
        "field": (_T.STRING, attrgetter("field")),
        "topic": (_T.STRING, attrgetter("topic")),
        "producer": (_T.STRING, attrgetter("producer")),
        "attempt": (_T.INT, attrgetter("attempt")),
        "schema_id": (_T.DYN, attrgetter("schema_id")),
        "key": (_T.DYN, attrgetter("key")),
        "headers": (_HEADERS, _headers),
    },
    attrgetter("reason", "topic", "producer", "field"),
)
"""A `redrive.deadletters.letter.Letter`."""

EVENT = _subject(
    "event",
    {
        "id": (_T.STRING, attrgetter("id")),
        "topic": (_T.STRING, attrgetter("topic")),
        "key": (_T.DYN, attrgetter("key")),
        "headers": (_HEADERS, _headers),
        "timestamp": (_T.TIMESTAMP, _timestamp),
        "schema_id": (_T.DYN, _schema_id),
    },
    None,
)
"""A `redrive.events.Event`; its schema id is that of its frame."""
