"""Strict checks of Avro's logical types: what fastavro writes *and* reads back as an equal value.

Each takes the Python type that fastavro reads them as, or the raw value underneath. Refused, because fastavro
would write something else than was meant: times without a zone where an instant is asked for (they would depend
on the machine's), with a zone where none can be kept, a ``datetime`` or a string for a date, decimals that do not
fit, and raw values that no reader could turn back into a time. What is finer than the schema's unit is cut off:
microseconds in ``timestamp-millis`` and ``time-millis``.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from numbers import Integral
from typing import Any
from uuid import UUID

from redrive.avro.misfit import Misfit, kind
from redrive.avro.simple_types import Check

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FIRST_SECOND, _SECONDS_OF_THE_YEARS_1_TO_9999 = -62_135_596_800, 315_537_897_600
_DAY = 86_400
DATE_RANGE = (date.min.toordinal() - _EPOCH_DAY, date.max.toordinal() - _EPOCH_DAY)
"""The first and last raw date that a ``date`` can hold."""
_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def instant_range(units_a_second: int) -> tuple[int, int]:
    """Return the first and last raw instant that a ``datetime`` can hold."""
    first = _FIRST_SECOND * units_a_second
    return first, first + _SECONDS_OF_THE_YEARS_1_TO_9999 * units_a_second - 1


def time_range(units_a_second: int) -> tuple[int, int]:
    """Return the first and last raw time of a day."""
    return 0, _DAY * units_a_second - 1


def _raw_int(value: object, low: int, high: int, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise Misfit(f"is {kind(value)}, not {wanted}")
    if not low <= int(value) <= high:
        raise Misfit(f"is outside what {wanted} can hold")


def instant(units_a_second: int) -> Check:
    """Check ``timestamp-millis`` (1000 units a second) or ``timestamp-micros``: a point in time."""
    low, high = instant_range(units_a_second)

    def check(value: Any) -> None:
        if not isinstance(value, datetime):
            _raw_int(value, low, high, "a datetime or an integer timestamp of the years 1 to 9999")
        elif value.utcoffset() is None:
            raise Misfit("is a datetime without a time zone; give it one, such as datetime.UTC")
        else:
            try:
                value.astimezone(UTC)
            except (OverflowError, ValueError):
                raise Misfit("is outside the years 1 to 9999 in UTC") from None

    return check


def local_instant(units_a_second: int) -> Check:
    """Check ``local-timestamp-millis`` or ``-micros``: a date and time of day, wherever one is."""
    low, high = instant_range(units_a_second)

    def check(value: Any) -> None:
        if not isinstance(value, datetime):
            _raw_int(value, low, high, "a local datetime or an integer timestamp of the years 1 to 9999")
        elif value.tzinfo is not None:
            raise Misfit("is a datetime with a time zone, which a local timestamp can't keep")

    return check


def day(value: Any) -> None:
    """Check ``date``: a calendar day."""
    if isinstance(value, datetime):
        raise Misfit("is a datetime, not a date; its time would be lost: call its date()")
    if not isinstance(value, date):
        _raw_int(value, *DATE_RANGE, "a date or an integer count of days of the years 1 to 9999")


def time_of_day(units_a_second: int) -> Check:
    """Check ``time-millis`` or ``time-micros``: a time within a day."""

    def check(value: Any) -> None:
        if not isinstance(value, time):
            _raw_int(value, *time_range(units_a_second), "a time or an integer count of units since midnight")
        elif value.tzinfo is not None:
            raise Misfit("is a time with a time zone, which Avro can't keep")

    return check


def decimal(precision: int, scale: int, size: int | None) -> Check:
    """Check ``decimal``; ``size`` is the width in bytes when the underlying type is fixed.

    Whatever has few enough digits fits in it: schemas that promise more digits than bytes can hold are not parsed.
    """
    limit = 10**precision

    def check(value: Any) -> None:
        if isinstance(value, Decimal):
            check_decimal(value)
        elif not isinstance(value, bytes | bytearray):
            raise Misfit(f"is {kind(value)}, not a Decimal or bytes")
        elif size is not None and len(value) != size:
            raise Misfit(f"has {len(value)} bytes instead of the schema's {size}")
        elif not value:
            raise Misfit("is empty, which is no number")
        elif abs(int.from_bytes(value, "big", signed=True)) >= limit:
            raise Misfit(f"needs more than the {precision} digits of the schema")

    def check_decimal(value: Decimal) -> None:
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise Misfit("is not a number" if value.is_nan() else "is infinite")
        if exponent + scale < 0:
            raise Misfit(f"has more than the {scale} decimal places of the schema; round it first")
        used = len(digits) + exponent + scale if any(digits) else 0
        # Zeros are bounded as well: with a huge exponent fastavro computes 10**exponent before it multiplies.
        if used > precision or exponent > precision:
            raise Misfit(f"needs more than the {precision} digits of the schema, {scale} of them decimal places")
        if size is not None and sign and not used:
            raise Misfit("is minus zero, which a fixed decimal can't carry; write 0")

    return check


def uuid(value: Any) -> None:
    """Check ``uuid`` over a string: a UUID or its usual form with four hyphens."""
    if isinstance(value, UUID):
        return
    if not isinstance(value, str):
        raise Misfit(f"is {kind(value)}, not a UUID or its string form")
    if not _UUID.fullmatch(value):
        raise Misfit("is not a UUID in the form 8-4-4-4-12 hexadecimal digits")


def logical_check(schema: dict[str, Any]) -> Check | None:
    """Return the check of a schema's logical type, or None if it has none that changes the value's type.

    Raises:
        ValueError: the logical type is declared incompletely.
    """
    simple: dict[tuple[str, str], Check] = {
        ("long", "timestamp-millis"): instant(1_000),
        ("long", "timestamp-micros"): instant(1_000_000),
        ("long", "local-timestamp-millis"): local_instant(1_000),
        ("long", "local-timestamp-micros"): local_instant(1_000_000),
        ("int", "date"): day,
        ("int", "time-millis"): time_of_day(1_000),
        ("long", "time-micros"): time_of_day(1_000_000),
        ("string", "uuid"): uuid,
    }
    base, logical = schema["type"], schema.get("logicalType")
    if logical == "decimal" and base in ("bytes", "fixed"):
        if "precision" not in schema:
            raise ValueError("a decimal has no precision")
        return decimal(schema["precision"], schema.get("scale", 0), schema.get("size"))
    return simple.get((base, logical)) if isinstance(base, str) and isinstance(logical, str) else None
