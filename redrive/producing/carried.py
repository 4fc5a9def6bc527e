"""What both Kafka and the standby store can carry: an error in either would come too late."""

from __future__ import annotations

from redrive.errors import InvalidEventError, InvalidKeyError
from redrive.events import Event, Headers
from redrive.pump.names import JOB_HEADERS


def carried_key(topic: str, key: object) -> bytes:
    """Return a key as bytes."""
    if isinstance(key, bytes):
        return bytes(key)
    if not isinstance(key, str):
        raise InvalidKeyError(topic, f"is of type {type(key).__name__}, not bytes, str or None")
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise InvalidKeyError(topic, "has half a surrogate pair, which UTF-8 can't carry") from None


def carried_headers(topic: str, headers: Headers) -> Headers:
    """Return the headers if they can be carried.

    Without what jobs have said of an event that is published anew: jobs would take the new one for what they have
    brought there, and leave it out.
    """
    plain: Headers = []
    for index, header in enumerate(headers):
        match header:
            case (str() as name, bytes() | None as value) if type(header) is tuple:
                try:
                    name.encode()
                except UnicodeEncodeError:
                    reason = "has half a surrogate pair in its name, which UTF-8 can't carry"
                    raise InvalidEventError(topic, f"headers[{index}]", reason) from None
                if name in JOB_HEADERS:
                    continue
                # Of subclasses, MessagePack knows nothing.
                plain.append((str.__str__(name), None if value is None else bytes(value)))
            case _:
                raise InvalidEventError(topic, f"headers[{index}]", "is not a tuple of a str and bytes or None")
    return plain


def size_of(event: Event) -> int:
    """Return about how many bytes an event takes as a Kafka record (KIP-98's format, lengths at their longest)."""
    headers = sum(len(name.encode()) + len(value or b"") + 10 for name, value in event.headers)
    return len(event.key or b"") + len(event.value or b"") + headers + 100
