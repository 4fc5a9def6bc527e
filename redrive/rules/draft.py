"""A value while it is being corrected: reached by JSON Pointers (RFC 6901), copied only where it changes."""

from __future__ import annotations

import re
from typing import Any

from redrive.rules.refusal import Refusal

Steps = tuple[str, ...]

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_CONTAINERS: frozenset[type] = frozenset({dict, list, tuple})
MISSING: Any = object()
"""Stands for what is not there."""


def parse_pointer(pointer: str) -> Steps:
    """Cut a JSON Pointer into its steps.

    Raises:
        ValueError: it is none.
    """
    if pointer and not pointer.startswith("/"):
        raise ValueError(f'is not a JSON Pointer; write "/{pointer.replace(".", "/")}"')
    if re.search("~(?![01])", pointer):
        raise ValueError('has a "~" that is not the start of "~0" (a tilde) or "~1" (a slash)')
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


class Draft:
    """A value and what has been changed in it. The value it was made of stays as it is.

    Containers on the way to a change are copied once; all others are shared with the original. A tuple that is
    changed becomes a list.
    """

    __slots__ = ("_own", "root")

    def __init__(self, value: Any) -> None:
        self.root = value
        # The copies, by their id; kept alive by being in here, so that no other object gets the id of one.
        self._own: dict[int, Any] = {}

    def get(self, steps: Steps) -> Any:
        """Return what is at a place, or `MISSING`."""
        value = self.root
        for step in steps:
            if isinstance(value, dict):
                value = value.get(step, MISSING)
            elif isinstance(value, list | tuple):
                at = _index(step)
                value = value[at] if at is not None and at < len(value) else MISSING
            else:
                return MISSING
        return value

    def set(self, steps: Steps, value: Any) -> None:
        """Put ``value`` at a place: into an object, or instead of a list's item."""
        if not steps:
            self.root = value
            return
        holder = self._holder(steps)
        if isinstance(holder, dict):
            holder[steps[-1]] = value
        else:
            holder[self._at(holder, steps[-1], 0)] = value

    def insert(self, steps: Steps, value: Any) -> None:
        """Do as `set`, but put it in front of a list's item; ``-`` is the place after the last one."""
        if not steps:
            self.root = value
            return
        holder = self._holder(steps)
        if isinstance(holder, dict):
            holder[steps[-1]] = value
        else:
            at = len(holder) if steps[-1] == "-" else self._at(holder, steps[-1], 1)
            holder.insert(at, value)

    def remove(self, steps: Steps) -> Any:
        """Take out what is at a place, which must be there, and return it."""
        holder = self._holder(steps)
        if isinstance(holder, dict):
            if steps[-1] not in holder:
                raise Refusal("there is nothing at the path")
            return holder.pop(steps[-1])
        return holder.pop(self._at(holder, steps[-1], 0))

    def _holder(self, steps: Steps) -> Any:
        """Return the container of a place, as a copy that may be changed."""
        holder = self.root = self._owned(self.root)
        if len(steps) == 1:
            return holder
        for step in steps[:-1]:
            if isinstance(holder, dict):
                if step not in holder:
                    raise Refusal("what holds the path is missing")
                inner = holder[step] = self._owned(holder[step])
            else:
                at = self._at(holder, step, 0)
                inner = holder[at] = self._owned(holder[at])
            holder = inner
        return holder

    def _owned(self, value: Any) -> Any:
        if id(value) in self._own:
            return value
        if isinstance(value, dict):
            copied: Any = dict(value)
        elif isinstance(value, list | tuple):
            copied = list(value)
        else:
            raise Refusal("what holds the path is neither an object nor a list")
        self._own[id(copied)] = copied
        return copied

    @staticmethod
    def _at(holder: list[Any], step: str, beyond: int) -> int:
        at = _index(step)
        if at is None:
            raise Refusal("the path names a field of what is a list")
        if at >= len(holder) + beyond:
            raise Refusal("the list has no such item")
        return at


def clone(value: Any) -> Any:
    """Copy all containers of a value; what is in them can't be changed anyway."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    if isinstance(value, tuple):
        return tuple(clone(item) for item in value)
    return bytearray(value) if isinstance(value, bytearray) else value


def same(one: Any, other: Any) -> bool:
    """Say whether two values are equal and of the same types, so that 1 is neither true nor 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        kinds = [*map(type, one.values())]  # most values are flat: then nothing of it is Python's own work
        if one == other and kinds == [*map(type, other.values())] and _CONTAINERS.isdisjoint(kinds):
            return True
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124 - NaN is NaN


def _index(step: str) -> int | None:
    return int(step) if _INDEX.fullmatch(step) else None
