"""What a correction changes in a value, in a few lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any, NamedTuple

from redrive.rules.draft import same

MASK = "•••"
_LONGEST = 60
_MOST = 20
_TELLING = 3
"""Characters from which on a text that is part of another tells something of it."""
_ABSENT = object()


class Change(NamedTuple):
    """One difference.

    Attributes:
        path: such as ``order.items[2].price``; empty for the value itself. Ends at a masked field.
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
        masked: names of fields; what is in them, or below, is not shown, nor where else it went: renamed, converted,
            split, or put into a text.
    """
    secrets = set(_secrets(before, masked, inside=False)) | set(_secrets(after, masked, inside=False))
    changes: list[Change] = []
    for path, hidden, old, new in _walk("", before, after, masked):
        if len(changes) == _MOST:
            break
        shown = (_text(one if one is _ABSENT or not hidden else _MASKED, masked, secrets) for one in (old, new))
        changes.append(Change(path, *shown))
    return changes


def _walk(path: str, before: Any, after: Any, masked: Set[str]) -> Iterator[tuple[str, bool, Any, Any]]:
    if same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            step = f"{path}.{name}" if path else str(name)
            old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
            if name not in masked:
                yield from _walk(step, old, new, masked)
            elif not same(old, new):
                yield step, True, old, new
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walk(f"{path}[{index}]", old, new, masked)
    else:
        yield path, False, before, after


class _Masked:
    def __repr__(self) -> str:
        return MASK


_MASKED = _Masked()


def _secrets(value: Any, masked: Set[str], *, inside: bool) -> Iterator[str]:
    """Give what stands in masked fields, as text."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _secrets(item, masked, inside=inside or name in masked)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item, masked, inside=inside)
    elif inside and value is not None and not isinstance(value, bool):
        yield str(value)


def _veiled(value: Any, masked: Set[str], secrets: Set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _MASKED if name in masked else _veiled(item, masked, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_veiled(item, masked, secrets) for item in value]
    text = str(value)
    tells = text in secrets or any(
        len(min(text, secret, key=len)) >= _TELLING and (text in secret or secret in text) for secret in secrets
    )
    return _MASKED if tells else value


def _text(value: Any, masked: Set[str], secrets: Set[str]) -> str:
    if value is _ABSENT:
        return "(absent)"
    veiled = _veiled(value, masked, secrets) if masked else value
    text = "null" if veiled is None else repr(veiled)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
