"""Times and dates as RFC 3339 §5.6 has them, and no other forms of ISO 8601.

``t`` and ``z`` may be in lower case, and a second may have any number of digits; what is finer than a microsecond is
cut off. Names are those of the RFC's grammar. https://www.rfc-editor.org/rfc/rfc3339#section-5.6
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_OFFSET = r"[Zz]|[+-][0-9]{2}:[0-5][0-9]"

_FULL_DATE = re.compile(_DATE)
_PARTIAL_TIME = re.compile(_TIME)
_LOCAL = re.compile(rf"({_DATE})[Tt]({_TIME})")
_DATE_TIME = re.compile(rf"({_DATE})[Tt]({_TIME})({_OFFSET})")


def full_date(text: str) -> date:
    """Read a date.

    Raises:
        ValueError: it is none.
    """
    return date.fromisoformat(_matched(_FULL_DATE, text)[0])


def partial_time(text: str) -> time:
    """Read a time of day without offset.

    Raises:
        ValueError: it is none, or a leap second, which Python's times don't know.
    """
    return time.fromisoformat(_cut(_matched(_PARTIAL_TIME, text)[0]))


def local_date_time(text: str) -> datetime:
    """Read a time without offset, which the RFC itself has not.

    Raises:
        ValueError: it is none, or a leap second.
    """
    found = _matched(_LOCAL, text)
    return datetime.fromisoformat(f"{found[1]}T{_cut(found[2])}")


def date_time(text: str) -> datetime:
    """Read a time with its offset.

    Raises:
        ValueError: it is none, or a leap second.
    """
    found = _matched(_DATE_TIME, text)
    return datetime.fromisoformat(f"{found[1]}T{_cut(found[2])}{found[3].upper()}")


def is_date_time(text: str) -> bool:
    """Tell whether a text is a time with its offset; unlike `date_time`, it knows leap seconds: UTC's 23:59:60."""
    try:
        if (found := _DATE_TIME.fullmatch(text)) is None or found[2][6:8] != "60":
            date_time(text)
            return True
        before = datetime.fromisoformat(f"{found[1]}T{found[2][:6]}59{found[3].upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return (before.hour, before.minute) == (23, 59)


def _matched(form: re.Pattern[str], text: str) -> re.Match[str]:
    if (found := form.fullmatch(text)) is None:
        raise ValueError
    return found


def _cut(seconds: str) -> str:
    """Cut off what is finer than a microsecond: ``hh:mm:ss.ffffff``."""
    return seconds[:15]
