"""Any Python value as JSON, without loss where that is possible: how dead letters keep values that fit no schema.

JSON's own types stand for themselves. What JSON lacks is an object with one key that begins with ``$``:

========================  ============================================================================
``{"$bytes": "…"}``       bytes, in base64
``{"$decimal": "1.10"}``  a ``Decimal``
``{"$float": "NaN"}``     ``NaN``, ``Infinity``, ``-Infinity``
``{"$int": "0x…"}``       an integer with more digits than Python prints
``{"$datetime": "…"}``    a ``datetime``, in ISO 8601; likewise ``$date``, ``$time``
``{"$uuid": "…"}``        a ``UUID``
``{"$tuple": […]}``       a tuple
``{"$map": [[k, v], …]}`` a dict with keys that are not strings, or that could be mistaken for one of these
========================  ============================================================================

Two more stand for what is lost: ``{"$repr": "…", "type": "…"}`` for an object of any other type, and
``{"$cut": "…"}`` for a value larger than the limit, with how it begins, as Python shows it.
"""

from __future__ import annotations

import base64
import json
import math
import reprlib
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from numbers import Integral
from typing import Any
from uuid import UUID

import msgspec

LIMIT = 700_000
"""Characters of JSON that a value may take."""

_DEEPEST = 200
_REPR_SHOWN = 1_000
_LONGEST_INT = 4_000  # digits; Python refuses to print integers of more than 4,300


def encode(value: Any, limit: int = LIMIT) -> tuple[bytes, bool]:
    """Return ``value`` as tagged JSON, and whether all of it is in there.

    Never raises, whatever the value is: unknown types, cycles and broken ``__repr__`` included.
    """
    tagger = _Tagger(limit)
    try:
        text = json.dumps(tagger.tag(value, 0), separators=(",", ":"), allow_nan=False)
        if len(text) <= limit:
            return text.encode(), tagger.lossless
    except _TooLargeError:
        pass
    return json.dumps({"$cut": _beginning(value)}).encode(), False


def decode(data: bytes) -> Any:
    """Return the value of tagged JSON; what was lost comes back as the ``$repr`` or ``$cut`` object itself.

    Raises:
        ValueError: not tagged JSON.
    """
    try:
        return _decode(data)
    except (ArithmeticError, TypeError, RecursionError) as error:
        raise ValueError(f"not tagged JSON: {error}") from error


def _decode(data: bytes) -> Any:
    try:
        value = msgspec.json.decode(data)  # takes less than Python's own parser; what it takes, it reads as that does
    except (ValueError, RecursionError):
        return _untag(json.loads(data))
    # Most values have no tags. Without a dollar, plain or escaped, and not nested deeply, there is none to look for.
    if b"$" in data or b"\\" in data or data.count(b"{") + data.count(b"[") > _DEEPEST:
        return _untag(value)
    return value


class _TooLargeError(Exception):
    pass


class _Tagger:
    def __init__(self, limit: int) -> None:
        self.lossless = True
        self._room = limit

    def tag(self, value: Any, depth: int) -> Any:
        self._take(2)
        if depth > _DEEPEST:
            return self._lost(value)
        try:
            return self._tag(value, depth)
        except _TooLargeError:
            raise
        except Exception:  # a value of any class: what its methods raise is up to it
            return self._lost(value)

    def _take(self, characters: int) -> None:
        """Give up in time: what is larger is neither to be gone through nor to be written."""
        self._room -= characters
        if self._room < 0:
            raise _TooLargeError

    def _tag(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is dict:
            return self._dict(value, depth)
        if kind in (list, tuple):
            items = [self.tag(item, depth + 1) for item in value]
            return items if kind is list else {"$tuple": items}
        writer = _WRITERS.get(kind)
        if writer is None:
            plain = next((base for base in _PLAIN if isinstance(value, base)), None)
            return self._lost(value) if plain is None else self._tag(_PLAIN[plain](value), depth)
        if kind in (str, bytes, bytearray):
            self._take(len(value))
        return writer(value)

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if all(type(key) is str for key in value) and not any(key.startswith("$") for key in value):
            self._take(sum(map(len, value)))
            return {key: self.tag(item, depth + 1) for key, item in value.items()}
        return {"$map": [[self.tag(key, depth + 1), self.tag(item, depth + 1)] for key, item in value.items()]}

    def _lost(self, value: Any) -> dict[str, str]:
        self.lossless = False
        kind = type(value)
        shown = _beginning(value)
        self._take(len(shown))
        return {"$repr": shown, "type": f"{kind.__module__}.{kind.__qualname__}"}


def _beginning(value: Any) -> str:
    """Show a value in few characters and little time, whatever it is."""
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist, short.maxtuple = 3, 20, 20, 20
    short.maxstring = short.maxother = 200
    try:
        return short.repr(value)[:_REPR_SHOWN]
    except Exception:
        return "its repr() fails"


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {"$float": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _int(value: int) -> Any:
    return value if value.bit_length() < _LONGEST_INT * 3 else {"$int": hex(value)}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    str: str,
    int: _int,
    float: _float,
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode()},
    bytearray: lambda value: {"$bytes": base64.b64encode(value).decode()},
    Decimal: lambda value: {"$decimal": str(value)},
    datetime: lambda value: {"$datetime": value.isoformat()},
    date: lambda value: {"$date": value.isoformat()},
    time: lambda value: {"$time": value.isoformat()},
    UUID: lambda value: {"$uuid": str(value)},
}

# Subclasses, and the numbers of other libraries, are kept as what they are in essence.
_PLAIN: dict[type, Callable[[Any], Any]] = {Integral: int, float: float, str: str.__str__, bytes: bytes, dict: dict}
_PLAIN |= {list: list}

_READERS: dict[str, Callable[[Any], Any]] = {
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$decimal": Decimal,
    "$float": float,
    "$int": lambda text: int(text, 16),
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$uuid": UUID,
    "$tuple": lambda items: tuple(_untag(item) for item in items),
    "$map": lambda pairs: {_untag(key): _untag(item) for key, item in pairs},
}


def _untag(value: Any) -> Any:
    if isinstance(value, list):
        return [_untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, inside = next(iter(value.items()))
        if name in _READERS:
            try:
                return _READERS[name](inside)
            except (ArithmeticError, TypeError, ValueError) as error:
                raise ValueError(f"what stands after {name} can't be read as that") from error
    return {key: _untag(item) for key, item in value.items()}
