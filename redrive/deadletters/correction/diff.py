"""What a correction changes in a value, in a few lines for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any, NamedTuple

MASK = "•••"
_LONGEST = 60
_MOST = 20
_ABSENT = object()


class Change(NamedTuple):
    """One difference.

    Attributes:
        path: such as ``order.items[2].price``; empty for the value itself.
        before: as text, cut; masked if asked for. ``(absent)`` if it was not there.
        after: likewise.
    """

    path: str
    before: str
    after: str


def diff(before: Any, after: Any, masked: Set[str] = frozenset()) -> list[Change]:
    """Give the differences of two values, the first 20.

    Args:
        before: the value before.
        after: afterwards.
        masked: names of fields; what is in them, or below, is not shown.
    """
    changes: list[Change] = []
    for path, old, new in _walk("", before, after):
        if len(changes) == _MOST:
            break
        hidden = not masked.isdisjoint(re.split(r"[.\[\]]+", path))
        changes.append(Change(path, *(MASK if hidden and one is not _ABSENT else _text(one) for one in (old, new))))
    return changes


def _walk(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if type(before) is type(after) and before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            step = f"{path}.{name}" if path else str(name)
            yield from _walk(step, before.get(name, _ABSENT), after.get(name, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walk(f"{path}[{index}]", old, new)
    else:
        yield path, before, after


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "(absent)"
    text = "null" if value is None else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
