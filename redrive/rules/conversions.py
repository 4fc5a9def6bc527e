"""Turning a value into one of another type, without loss: what can't be turned so is refused."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from uuid import UUID

from redrive.avro.misfit import kind
from redrive.rules.refusal import Refusal

_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_Moment = TypeVar("_Moment", date, datetime)
_LARGEST = 10**40  # what is larger is longer than any integer that a schema has
_WORDS = {"true": True, "false": False}


def _integer(value: Any) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and -_LARGEST < value < _LARGEST:
        if value == int(value):
            return int(value)
        raise Refusal("has decimal places, which an integer can't keep; round it by an expression first")
    if isinstance(value, bool):
        return int(value)
    raise _no(value, "an integer")


def _double(value: Any) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return _shortest(Decimal(value.strip()))
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise Refusal("is too large for a double") from None
        if number == value:
            return number
        raise Refusal("has more digits than a double can keep")
    if isinstance(value, Decimal) and value.is_finite():
        return _shortest(value)
    raise _no(value, "a double")


def _shortest(value: Decimal) -> float:
    """Give the double that is meant by these digits: the one whose shortest text they are."""
    number = float(value)
    if not math.isfinite(number):
        raise Refusal("is too large for a double")
    if Decimal(repr(number)) != value:
        raise Refusal("has more digits than a double can keep")
    return number


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        try:
            return Decimal(value.strip())
        except InvalidOperation:
            raise _no(value, "a decimal") from None
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))  # the shortest text that is this float: what was meant by 0.1
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise _no(value, "a decimal")


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    if type(value) is int and value in (0, 1):
        return bool(value)
    raise _no(value, "a boolean")


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal | UUID):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Refusal("is not UTF-8") from None
    raise _no(value, "a string")


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise Refusal("has half a surrogate pair, which UTF-8 can't carry") from None
    raise _no(value, "bytes")


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise _no(value, "bytes in base64") from None


def _timestamp(value: Any) -> datetime:
    moment = _iso(datetime, value, "a time with its date and zone, in ISO 8601")
    if moment.tzinfo is None:
        raise Refusal("is a time without a zone; add one by an expression first")
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise Refusal("is outside the years 1 to 9999 in UTC") from None


def _date(value: Any) -> date:
    return _iso(date, value, "a date in ISO 8601")


def _uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError):
        raise _no(value, "a UUID") from None


def _iso(type_: type[_Moment], value: Any, wanted: str) -> _Moment:
    if type(value) is type_:
        return value
    if not isinstance(value, str):
        raise _no(value, wanted)
    try:
        return type_.fromisoformat(value.strip())
    except ValueError:
        raise _no(value, wanted) from None


def _no(value: Any, wanted: str) -> Refusal:
    return Refusal(f"is {kind(value)} that is not {wanted}")


# The type whose values stay as they are, and what turns others into it.
CONVERSIONS: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "integer": (int, _integer),
    "double": (float, _double),
    "decimal": (Decimal, _decimal),
    "boolean": (bool, _boolean),
    "string": (str, _string),
    "bytes": (bytes, _bytes),
    "bytes-of-base64": (bytes, _base64),
    "timestamp": (type(None), _timestamp),
    "date": (date, _date),
    "uuid": (UUID, _uuid),
}


def converter(to: str) -> Callable[[Any], Any]:
    """Return what turns a value into the type named ``to``; it raises `Refusal` for a value that it can't turn."""
    type_, convert = CONVERSIONS[to]

    def converted(value: Any) -> Any:
        if type(value) is type_ and value is not None:
            return value
        return convert(value)

    return converted
