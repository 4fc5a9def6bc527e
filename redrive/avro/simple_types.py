"""Strict checks of Avro's simple types."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan
from numbers import Integral, Real
from typing import Any

from redrive.avro.misfit import Misfit, kind

Check = Callable[[Any], None]
"""Raises `Misfit` for a value that does not fit; returns None for one that does."""

INT = (-(2**31), 2**31 - 1)
LONG = (-(2**63), 2**63 - 1)
# From here on a double rounds to infinity in 32 bits: the largest float and half a unit of its last place.
FLOAT_LIMIT = 2.0**128 - 2.0**103


def _null(value: Any) -> None:
    if value is not None:
        raise Misfit(f"is {kind(value)}, not null")


def _boolean(value: Any) -> None:
    if not isinstance(value, bool):
        raise Misfit(f"is {kind(value)}, not a boolean")


def _integer(name: str, low: int, high: int) -> Check:
    def check(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise Misfit(f"is {kind(value)}, not an integer ({name})")
        if not low <= int(value) <= high:
            raise Misfit(f"is outside the range of {name} ({low} to {high})")

    return check


def _floating(name: str, limit: float, digits: int) -> Check:
    def check(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise Misfit(f"is {kind(value)}, not a number ({name})")
        try:
            rounded = float(value)
        except OverflowError:
            raise Misfit(f"is outside the range of {name}") from None
        if limit <= abs(rounded) < inf:
            raise Misfit(f"is outside the range of {name}")
        long_integer = isinstance(value, Integral) and _binary_digits(int(value)) > digits
        if long_integer or not (isnan(rounded) or rounded == value):
            raise Misfit(f"has more digits than {name} can keep; use a long, a decimal or a string in the schema")

    return check


def _binary_digits(number: int) -> int:
    """Count from the first binary digit that is not 0 to the last."""
    return (abs(number) // (number & -number or 1)).bit_length()


def string(value: Any) -> None:
    """Check a string: one that UTF-8 can carry."""
    if not isinstance(value, str):
        raise Misfit(f"is {kind(value)}, not a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Misfit(f"has half a surrogate pair at character {error.start}, which UTF-8 can't carry") from None


def octets(value: Any) -> None:
    """Check ``bytes``."""
    if not isinstance(value, bytes | bytearray):
        raise Misfit(f"is {kind(value)}, not bytes")


def fixed(size: int) -> Check:
    """Make the check of a fixed type, ``size`` in bytes."""

    def check(value: Any) -> None:
        octets(value)
        if len(value) != size:
            raise Misfit(f"has {len(value)} bytes instead of the schema's {size}")

    return check


def enum(symbols: list[str]) -> Check:
    """Make the check of an enum."""
    allowed = frozenset(symbols)
    listed = ", ".join(symbols[:12]) + (", …" if len(symbols) > 12 else "")

    def check(value: Any) -> None:
        if not isinstance(value, str):
            raise Misfit(f"is {kind(value)}, not one of the symbols {listed}")
        if value not in allowed:
            raise Misfit(f"is not one of the symbols {listed}")

    return check


PRIMITIVES: dict[str, Check] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer("int", *INT),
    "long": _integer("long", *LONG),
    "float": _floating("float", FLOAT_LIMIT, 24),
    "double": _floating("double", inf, 53),
    "string": string,
    "bytes": octets,
}
