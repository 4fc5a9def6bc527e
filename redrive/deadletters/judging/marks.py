"""What a correction writes on its events, so that a read-back can tell what it has made of each letter.

``redrive-correction`` is JSON: ``rules``, the first digits of the rule set's digest (empty without rules), and

- ``applied``, the names of the rules that were applied, or of the one that could not be;
- on a letter that could not be put right, or that was parked: ``refused``, why, as a code.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

DIGITS = 16


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The header, read."""

    rules: str = ""
    applied: tuple[str, ...] = ()
    refused: str = ""


@lru_cache(maxsize=1024)
def applied(digest: str, rules: tuple[str, ...]) -> bytes:
    """Give the header's value for a corrected event."""
    return msgspec.json.encode(Mark(digest, rules))


@lru_cache(maxsize=1024)
def refused(digest: str, reason: str, rules: tuple[str, ...]) -> bytes:
    """Give the header's value for a letter that could not be put right."""
    return msgspec.json.encode(Mark(digest, rules, reason))


@lru_cache(maxsize=1024)
def read(value: bytes | None) -> Mark:
    """Read the header's value; one that is not ours is an empty mark."""
    try:
        return _decoder.decode(value or b"")
    except msgspec.MsgspecError:
        return Mark()


_decoder = msgspec.json.Decoder(Mark)
