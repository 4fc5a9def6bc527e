"""In which line of a TOML text each key stands, so that a mistake in a setting can be shown where it is."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """Map each key's path, such as ``("topics", "orders.created", "lanes")``, to its line (from 1).

    ``text`` must be valid TOML. Keys inside a value of several lines get the line in which the value begins.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _header(parsed)
            for depth in range(1, len(table) + 1):
                lines.setdefault(table[:depth], number)
        else:
            for path in _paths(parsed):
                lines.setdefault(table + path, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Cut the text into table headers and assignments; what is one is decided by the TOML parser itself."""
    begun, number = "", 0
    for count, line in enumerate(text.splitlines(), start=1):
        if not begun:
            number = count
        begun += line + "\n"
        try:
            parsed = tomllib.loads(begun)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            yield number, begun
        begun = ""


def _header(parsed: Any) -> Path:
    path: list[str] = []
    while parsed:
        if isinstance(parsed, list):
            parsed = parsed[0]
            continue
        ((name, parsed),) = parsed.items()
        path.append(name)
    return tuple(path)


def _paths(parsed: dict[str, Any], above: Path = ()) -> Iterator[Path]:
    for name, value in parsed.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from _paths(value, (*above, name))
