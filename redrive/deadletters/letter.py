"""A dead letter: an event that could not go its way, kept with all that is needed to put it right.

It goes to ``dlq.<producer>`` or ``dlq.<consumer group>``. Its key and headers are those of the event; its value is

- ``raw``: the event's bytes as they were, or a tombstone; or
- ``json``: a value that fits no schema, as tagged JSON (see `redrive.tagged_json`).

These headers come after the event's own, all in UTF-8 and each only where it applies:

======================  ==========================================================================================
``redrive-reason``      a short code, see `REASONS`
``redrive-detail``      a sentence for people
``redrive-field``       path of the field that is wrong
``redrive-topic``       the topic that the event was meant for, or was read from
``redrive-partition``   where it was read from; likewise ``redrive-offset``
``redrive-timestamp``   its timestamp there, in milliseconds since 1970
``redrive-schema-id``   the schema that it was checked against, or that its frame names
``redrive-attempt``     how many times it has become a dead letter: 1, and one more each time it comes back
``redrive-encoding``    ``raw`` or ``json``
``redrive-lossy``       ``true`` if the value, or parts of the event, could not be kept
``redrive-producer``    the producer or consumer group that wrote the letter
``redrive-at``          when, in RFC 3339
======================  ==========================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from redrive import tagged_json
from redrive.envelope import rfc3339
from redrive.errors import LetterFormatError
from redrive.events import Event, Headers, are_unreadable

REASONS = {
    "invalid-value": "the value does not fit the topic's schema",
    "bad-frame": "the bytes are not a frame with exactly one Avro value",
    "unknown-schema": "the registry does not know the schema id",
    "incompatible-schema": "the reader's schema can't take the writer's",
    "too-large": "the event is larger than its topic takes",
    "unknown-topic": "the topic does not exist",
    "refused": "Kafka refuses the event for good",
    "unreadable-headers": "a header's name is not UTF-8, so that none of its headers can be read",
    "handler-failed": "the consumer's handler failed, also when tried again",
}
"""What ``redrive-reason`` may be, and what it means."""

RAW, JSON = "raw", "json"
_PREFIX = "redrive-"
_WHY = ("reason", "detail", "field", "schema-id", "attempt", "producer", "at")
_WHAT = ("topic", "partition", "offset", "timestamp", "encoding", "lossy")
_NAMES = frozenset(_PREFIX + name for name in _WHY + _WHAT)
_NEEDED = (_PREFIX + "reason", _PREFIX + "topic", _PREFIX + "encoding")
_LONGEST_DETAIL = 1_000
_ENVELOPE = frozenset({"ce_id", "ce_source", "ce_type", "ce_time"})
_SHORT = 1_000  # bytes
_DIGITS = 19
_MOST = 2**63 - 1  # what Kafka's times and offsets can be


class Letter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dead letter, read.

    Attributes:
        id: the event's id; None if it had none.
        key: the event's key.
        value: the event's bytes if ``encoding`` is ``raw`` (None is a tombstone), else the value itself.
        headers: the event's own.
        reason: one of `REASONS`.
        detail: a sentence for people.
        field: path of the field that is wrong, or empty.
        topic: the topic that the event was meant for, or was read from.
        partition: where it was read from; None for a producer's letter.
        offset: likewise.
        timestamp: the event's, in milliseconds since 1970; None if unknown.
        schema_id: the schema it was checked against, or that its frame names.
        attempt: how many times it has become a dead letter.
        encoding: ``raw`` or ``json``.
        lossless: whether ``value`` is all of the value.
        producer: who wrote the letter: a producer or a consumer group.
        at: when, in RFC 3339.
    """

    id: str | None
    key: bytes | None
    value: Any
    headers: Headers
    reason: str
    detail: str
    field: str
    topic: str
    partition: int | None
    offset: int | None
    timestamp: int | None
    schema_id: int | None
    attempt: int
    encoding: str
    lossless: bool
    producer: str
    at: str


def letter_of_value(
    dead_letters: str,
    *,
    event_id: str,
    key: bytes | None,
    value: Any,
    headers: Headers,
    topic: str,
    reason: str,
    detail: str,
    producer: str,
    timestamp: int,
    field: str = "",
    schema_id: int | None = None,
) -> Event:
    """Make the letter of a value that could not be encoded; never fails, whatever the value is.

    Args:
        dead_letters: the dead-letter topic.
        headers: the event's own.
        topic: where the event was meant to go.
        reason: one of `REASONS`.
        timestamp: when the event was accepted, in milliseconds since 1970.

    The other arguments are those of `Letter`.
    """
    body, lossless = tagged_json.encode(value)
    about = _about(topic, reason, detail, producer, headers, field=field, timestamp=timestamp, schema_id=schema_id)
    about += _header("encoding", JSON) + ([] if lossless else _header("lossy", "true"))
    return Event(event_id, dead_letters, key, body, own_headers(headers) + about, timestamp)


def letter_of_bytes(
    dead_letters: str,
    *,
    event_id: str,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    topic: str,
    reason: str,
    detail: str,
    producer: str,
    timestamp: int,
    field: str = "",
    schema_id: int | None = None,
    partition: int | None = None,
    offset: int | None = None,
    now: int | None = None,
) -> Event:
    """Make the letter of an event whose bytes are kept as they are.

    Args:
        dead_letters: the dead-letter topic.
        headers: the event's own.
        topic: where the event was meant to go, or was read from.
        reason: one of `REASONS`.
        timestamp: the event's, in milliseconds since 1970.
        now: the letter's own timestamp, which decides how long it is kept; None: the time of day.

    The other arguments are those of `Letter`.
    """
    about = _about(topic, reason, detail, producer, headers, field=field, timestamp=timestamp, schema_id=schema_id)
    if partition is not None:
        about += _header("partition", str(partition))
    if offset is not None:
        about += _header("offset", str(offset))
    about += _header("encoding", RAW)
    if are_unreadable(headers):  # the value is whole, but the event is not
        about += _header("lossy", "true")
    written = _now() if now is None else now
    return Event(event_id, dead_letters, key, value, own_headers(headers) + about, written)


def letter_of_event(dead_letters: str, event: Event, *, reason: str, detail: str, producer: str) -> Event:
    """Make the letter of an encoded event that could not be published; see `letter_of_bytes`."""
    return letter_of_bytes(
        dead_letters,
        event_id=event.id,
        key=event.key,
        value=event.value,
        headers=event.headers,
        topic=event.topic,
        reason=reason,
        detail=detail,
        producer=producer,
        timestamp=event.timestamp,
    )


def letter_again(letter: Letter, dead_letters: str, value: bytes | None, *, event_id: str, detail: str) -> Event:
    """Make the letter of an event that could not be put right: as it was, but with one attempt more.

    Reason and field stay too: they are about the value, which is the one that it was before.

    Args:
        letter: the letter that it was.
        dead_letters: the dead-letter topic.
        value: the letter's value, as bytes.
        event_id: for a letter that has none.
        detail: why it could not be put right.
    """
    about = _header("reason", letter.reason) + _header("detail", detail) + _header("topic", letter.topic)
    for name, number in (("partition", letter.partition), ("offset", letter.offset), ("timestamp", letter.timestamp)):
        if number is not None:
            about += _header(name, str(number))
    about += _header("attempt", str(letter.attempt + 1)) + _header("producer", letter.producer)
    about += [("redrive-at", rfc3339(_now()))]
    if letter.field:
        about += _header("field", letter.field)
    if letter.schema_id is not None:
        about += _header("schema-id", str(letter.schema_id))
    about += _header("encoding", letter.encoding)
    return Event(letter.id or event_id, dead_letters, letter.key, value, letter.headers + about, _now())


def without_value(letter: Event) -> Event:
    """Return a letter too large for its topic without the value, which stays where the event was read from."""
    note = f"too large for {letter.topic} with its value of {len(letter.value or b''):,} bytes"
    return _lossy(letter, note, letter.key, letter.headers)


def stub(letter: Event) -> Event:
    """Return what is left of a letter that is too large even without a value: where the event was read from, and why.

    Its envelope and key go along where they are short; else they stay where it was read from, as do other headers.
    """
    own = own_headers(letter.headers)
    envelope: dict[str, bytes | None] = {}
    for name, value in own:
        if name in _ENVELOPE and len(value or b"") <= _SHORT:
            envelope.setdefault(name, value)
    key = letter.key if len(letter.key or b"") <= _SHORT else None
    note = f"too large for {letter.topic} with its {len(own):,} headers and its key of {len(letter.key or b''):,} bytes"
    about = [header for header in letter.headers if not is_own(header[0])]
    return _lossy(letter, note, key, [*envelope.items(), *about])


def _lossy(letter: Event, note: str, key: bytes | None, headers: Headers) -> Event:
    lost = [*_header("detail", note), *_header("lossy", "true"), *_header("encoding", RAW)]
    replaced = {name for name, _ in lost}
    detail = [value for name, value in headers if name == "redrive-detail"]
    if detail and detail[0]:
        lost[0] = ("redrive-detail", detail[0] + b"; " + note.encode())
    kept = [header for header in headers if header[0] not in replaced]
    return Event(letter.id, letter.topic, key, None, kept + lost, letter.timestamp)


def is_own(name: str) -> bool:
    """Say whether a header is the event's own: not one that letters have added."""
    return name not in _NAMES


def read_letter(
    headers: Headers | None, key: bytes | None, value: bytes | None, *, is_own: Callable[[str], bool] = is_own
) -> Letter:
    """Read a dead letter.

    Args:
        headers: the record's; likewise ``key`` and ``value``.
        is_own: says of a header's name whether it is one of those that the event is to have.

    Raises:
        LetterFormatError: the record is none, or is damaged.
    """
    headers = headers or []
    names, texts = zip(*headers, strict=True) if headers else ((), ())
    layout = _layout(names, is_own)
    if layout.missing:
        raise LetterFormatError(f"it has no header {layout.missing}; is this a dead-letter topic of Redrive?")
    encoding = _text(texts, layout.encoding)
    if encoding not in (RAW, JSON):
        raise LetterFormatError(f"its encoding is {encoding!r}; only {RAW} and {JSON} are known")
    content: Any = value
    if encoding == JSON:
        try:
            content = tagged_json.decode(value or b"")
        except ValueError as error:
            raise LetterFormatError(f"its value can't be read: {error}") from error
    return Letter(
        id=_text(texts, layout.id) or None,
        key=key,
        value=content,
        headers=[headers[at] for at in layout.own] if layout.scattered else headers[: len(layout.own)],
        reason=_text(texts, layout.reason),
        detail=_text(texts, layout.detail),
        field=_text(texts, layout.field),
        topic=_text(texts, layout.topic),
        partition=_number(headers, layout.partition),
        offset=_number(headers, layout.offset),
        timestamp=_number(headers, layout.timestamp),
        schema_id=_number(headers, layout.schema_id),
        attempt=_number(headers, layout.attempt) or 1,
        encoding=encoding,
        lossless=layout.lossy is None,
        producer=_text(texts, layout.producer),
        at=_text(texts, layout.at),
    )


class _Layout(msgspec.Struct, frozen=True):
    """Where everything is among a letter's headers; None: nowhere. Of headers of the same name, the last one counts.

    Attributes:
        own: where the event's own headers are.
        scattered: they do not all come first.
        id: where the event's id is: the first of its name.
        missing: the name of a header without which it is no letter.
    """

    own: tuple[int, ...]
    scattered: bool
    id: int | None
    missing: str
    reason: int | None
    detail: int | None
    field: int | None
    topic: int | None
    partition: int | None
    offset: int | None
    timestamp: int | None
    schema_id: int | None
    attempt: int | None
    encoding: int | None
    lossy: int | None
    producer: int | None
    at: int | None


@lru_cache(maxsize=256)  # the letters of a topic have a few layouts, and finding one out takes long
def _layout(names: tuple[str, ...], is_own: Callable[[str], bool]) -> _Layout:
    own = tuple(at for at, name in enumerate(names) if is_own(name))
    places = {name: at for at, name in enumerate(names) if name in _NAMES}
    return _Layout(
        own=own,
        scattered=own != tuple(range(len(own))),
        id=next((at for at in own if names[at] == "ce_id"), None),
        missing=next((name for name in _NEEDED if name not in places), ""),
        **{name.replace("-", "_"): places.get(_PREFIX + name) for name in _WHY + _WHAT},
    )


def _about(
    topic: str,
    reason: str,
    detail: str,
    producer: str,
    headers: Headers,
    *,
    field: str,
    timestamp: int,
    schema_id: int | None,
) -> Headers:
    before = [value for name, value in headers if name == "redrive-attempt" and value]
    attempt = int(before[-1]) + 1 if before and before[-1].isdigit() and len(before[-1]) < 10 else 1
    about = _header("reason", reason) + _header("detail", detail) + _header("topic", topic)
    about += _header("timestamp", str(timestamp)) + _header("attempt", str(attempt)) + _header("producer", producer)
    about += [("redrive-at", rfc3339(_now()))]
    if field:
        about += _header("field", field)
    if schema_id is not None:
        about += _header("schema-id", str(schema_id))
    return about


def own_headers(headers: Headers) -> Headers:
    """Give the event's own headers: without what letters have added."""
    return [header for header in headers if header[0] not in _NAMES]


def _header(name: str, text: str) -> Headers:
    shown = text if len(text) <= _LONGEST_DETAIL else text[: _LONGEST_DETAIL - 1] + "…"
    return [(_PREFIX + name, shown.encode(errors="replace"))]


def _text(texts: Sequence[bytes | None], at: int | None) -> str:
    text = None if at is None else texts[at]
    return text.decode(errors="replace") if text else ""


def _number(headers: Headers, at: int | None) -> int | None:
    if at is None:
        return None
    name, text = headers[at]
    # `isdigit` of bytes takes ASCII's ten digits only, and the length keeps out what would take long to convert.
    if text and text.isdigit() and len(text) <= _DIGITS and (number := int(text)) <= _MOST:
        return number
    raise LetterFormatError(f"its header {name} is not a number from 0 to {_MOST}")


def _now() -> int:
    return time.time_ns() // 1_000_000
