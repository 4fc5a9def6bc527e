"""The envelope of an event: CloudEvents 1.0 attributes as Kafka headers (Kafka protocol binding, binary mode)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from redrive.errors import InvalidEventError
from redrive.events import Headers

Identity = tuple[bytes | None, bytes | None]
"""What tells an event from all others, as CloudEvents has it: its source, and its id there."""

CONTENT_TYPE = b"application/avro"
"""The body is Avro; the frame in front of it is Confluent's (see `redrive.wire`)."""


class Envelope(msgspec.Struct, frozen=True):
    """The attributes of an event; those that are missing or unreadable are None.

    Attributes:
        id: unique for ever, together with the source.
        source: who made the event: the producer's name.
        type: what has happened: the topic it was published to.
        time: when the producer accepted it.
    """

    id: str | None
    source: str | None
    type: str | None
    time: datetime | None


def headers(event_id: str, *, source: str, type: str, time_ms: int) -> Headers:
    """Return an event's own headers, in a list of its own.

    Args:
        event_id: not empty.
        source: the producer's name.
        type: the topic.
        time_ms: milliseconds since 1970 at which the event was accepted.

    Raises:
        InvalidEventError: the id is empty or can't be written in UTF-8.
    """
    try:
        identity = event_id.encode()
    except AttributeError:
        raise InvalidEventError(type, "event_id", f"is {event_id!r}, not a str") from None
    except UnicodeEncodeError:
        raise InvalidEventError(type, "event_id", "has half a surrogate pair, which UTF-8 can't carry") from None
    if not identity:
        raise InvalidEventError(type, "event_id", "is empty; leave it out to have one made")
    version, source_header, type_header, content_type = _constant(source, type)
    return [("ce_id", identity), version, source_header, type_header, ("ce_time", rfc3339(time_ms)), content_type]


def rfc3339(time_ms: int) -> bytes:
    """Write milliseconds since 1970 as a UTC time with milliseconds."""
    seconds, millis = divmod(time_ms, 1000)
    return b"%b.%03dZ" % (_second(seconds), millis)


def header(of: Headers | None, name: str) -> bytes | None:
    """Return a header's value (the first, if repeated), or None."""
    for each, value in of or ():
        if each == name:
            return value
    return None


def identity(of: Headers | None) -> Identity:
    """Return source and id among an event's headers, as they are written there."""
    return header(of, "ce_source"), header(of, "ce_id")


def event_id(of: Headers | None) -> str | None:
    """Return the id among an event's headers (the first, if repeated), or None."""
    for name, value in of or ():
        if name == "ce_id":
            return value.decode(errors="replace") if value else None
    return None


def source(of: Headers | None) -> str | None:
    """Return who made an event by its headers (the first, if repeated), or None."""
    for name, value in of or ():
        if name == "ce_source":
            return value.decode(errors="replace") if value else None
    return None


def parse(of: Headers | None) -> Envelope:
    """Read the envelope from an event's headers."""
    found: dict[str, str] = {}
    for name, value in of or ():
        if name in _ATTRIBUTES and value:
            found.setdefault(name, value.decode(errors="replace"))
    return Envelope(found.get("ce_id"), found.get("ce_source"), found.get("ce_type"), _time(found.get("ce_time")))


def accepted(of: Headers | None) -> int | None:
    """Return when an event was accepted by its headers, in milliseconds since 1970; None if they do not say it."""
    value = header(of, "ce_time")
    time = _time(value.decode(errors="replace")) if value else None
    return None if time is None else (time - _EPOCH) // timedelta(milliseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ATTRIBUTES = frozenset({"ce_id", "ce_source", "ce_type", "ce_time"})


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@lru_cache(maxsize=64)
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


@lru_cache(maxsize=1024)
def _constant(source: str, type: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", type.encode()),
        ("content-type", CONTENT_TYPE),
    )
