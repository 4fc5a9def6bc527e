"""What the strict check says of a value, in the words of who sends JSON: it speaks of Python's types."""

from __future__ import annotations

import re

_FORM = re.compile(r"is (.+?)(, not | and fits none of )(.+)")
_GOT = {
    "a float": "a number with a point or an exponent",
    "a list": "an array",
    "a dict": "an object",
}
_WANTED = {
    "a list": "an array",
    "a map (a dict)": "an object",
    "a record (a dict)": "an object",
    "bytes": "bytes, which are sent as a string, in base64",
    "a Decimal or bytes": 'a decimal, which is sent as a string, such as "12.50", or as an integer',
    "a UUID or its string form": "a UUID, which is sent as a string",
    "a datetime or an integer timestamp of the years 1 to 9999": (
        'a time, which is sent as a string, such as "2026-01-31T12:00:00Z", or as an integer, of the years 1 to 9999'
    ),
    "a local datetime or an integer timestamp of the years 1 to 9999": (
        'a local time, which is sent as a string, such as "2026-01-31T12:00:00", or as an integer, of the years 1 to '
        "9999"
    ),
    "a date or an integer count of days of the years 1 to 9999": (
        'a date, which is sent as a string, such as "2026-01-31", or as an integer count of days, of the years 1 to '
        "9999"
    ),
    "a time or an integer count of units since midnight": (
        'a time of day, which is sent as a string, such as "12:00:00", or as an integer count of units since midnight'
    ),
}


def for_senders_of_json(reason: str) -> str:
    """Put the reason of a misfit into words that do without Python's types."""
    if (found := _FORM.fullmatch(reason)) is None:
        return reason
    got, joined, wanted = found.groups()
    return f"is {_GOT.get(got, got)}{joined}{_WANTED.get(wanted, wanted)}"
