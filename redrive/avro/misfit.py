"""What a validator says of a value that does not fit: where, and why."""

from __future__ import annotations

_NAME_SHOWN = 80


class Misfit(Exception):  # noqa: N818 - an answer of the validator, caught by the code that asked
    """A value does not fit its schema.

    Neither part quotes the value: payloads must not reach logs by way of error messages.

    Attributes:
        field: path of the offending field, such as ``order.items[2].price``; empty for the value itself.
        reason: continues the sentence "field … ".
    """

    def __init__(self, reason: str, field: str = "") -> None:
        self.reason, self.field = reason, field
        super().__init__(field, reason)

    def inside(self, step: str) -> Misfit:
        """Return the same finding seen from one level up; ``step`` is a field's name, ``[2]`` or ``["key"]``."""
        join = "." if self.field and not self.field.startswith("[") else ""
        return Misfit(self.reason, f"{step}{join}{self.field}")


def kind(value: object) -> str:
    """Say what kind of thing ``value`` is, in the words of a schema's author."""
    if value is None:
        return "null"
    words = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", bytes: "bytes"}
    words |= {list: "a list", tuple: "a tuple (write a list)", dict: "a dict", set: "a set"}
    return words.get(type(value)) or f"of type {type(value).__module__}.{type(value).__qualname__}"


def shown(name: object) -> str:
    """Return a field's name or map key fit for a message: quoted, without line breaks, of bounded length."""
    text = ascii(name)
    return text if len(text) <= _NAME_SHOWN else text[: _NAME_SHOWN - 1] + "…"
