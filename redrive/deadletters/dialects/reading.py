"""Reading values of headers that anyone may have written: what is not as it should be counts as not said."""

from __future__ import annotations

import hashlib
import re

LONGEST = 249
"""Characters that are kept of a text; as many as a topic's name may have. Databases can't index text of any length."""

_TOPIC = re.compile(rb"[a-zA-Z0-9._-]{1,249}")  # Kafka's own rule: org.apache.kafka.common.internals.Topic
_CODE = re.compile(rb"[a-z0-9][a-z0-9-]{0,63}")
_CLASS = re.compile(rb"[A-Za-z_$][A-Za-z0-9_$]*(?:\.[A-Za-z_$][A-Za-z0-9_$]*)*")
_DIGITS = re.compile(rb"[0-9]{1,19}")
_PLAIN_PATH = re.compile(r"(?:\w+|\[\d+\]|\.)*")

_MAX_INT, _MAX_LONG = 2**31 - 1, 2**63 - 1


def text(raw: bytes | None) -> str:
    """Read a name: control characters are replaced, and one that is too long ends in a hash of all of it."""
    shown = (raw or b"").decode(errors="replace")
    if not shown.isprintable():
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in shown)
    if len(shown) <= LONGEST:
        return shown
    return f"{shown[: LONGEST - 17]}…{hashlib.sha256(raw or b'').hexdigest()[:16]}"


def topic(raw: bytes | None) -> str:
    """Read the name of a topic; empty if Kafka would not take it."""
    return raw.decode() if raw and _TOPIC.fullmatch(raw) else ""


def code(raw: bytes | None) -> str:
    """Read a short code, such as ``invalid-value``; empty if it is none."""
    return raw.decode() if raw and _CODE.fullmatch(raw) else ""


def class_name(raw: bytes | None) -> str:
    """Read the full name of a Java class; empty if it is none."""
    return raw.decode() if raw and len(raw) <= LONGEST and _CLASS.fullmatch(raw) else ""


def path(raw: bytes | None) -> str:
    """Read the path of a field, up to the first key of a map: such a key is part of the payload."""
    whole = text(raw)
    plain = _PLAIN_PATH.match(whole)
    end = plain.end() if plain else 0
    return whole if end == len(whole) else whole[:end] + "[…]"


def int_text(raw: bytes | None) -> int | None:
    """Read a number of at most 31 bits from digits, such as a partition's."""
    number = long_text(raw)
    return number if number is not None and number <= _MAX_INT else None


def long_text(raw: bytes | None) -> int | None:
    """Read a number of at most 63 bits from digits, such as an offset."""
    if not raw or not _DIGITS.fullmatch(raw):
        return None
    number = int(raw)
    return number if number <= _MAX_LONG else None


def big_endian(raw: bytes | None, size: int) -> int | None:
    """Read a signed number of ``size`` bytes, as Java's ByteBuffer writes it; None if it is negative."""
    if raw is None or len(raw) != size:
        return None
    number = int.from_bytes(raw, "big", signed=True)
    return number if number >= 0 else None
