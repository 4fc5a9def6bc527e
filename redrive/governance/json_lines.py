"""In which line of a JSON text each value begins, so that what is wrong in a schema can be shown where it is."""

from __future__ import annotations

import json
import re
from bisect import bisect

Path = tuple[str | int, ...]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def value_lines(text: str) -> dict[Path, int]:
    """Map the path of each value, such as ``("fields", 0, "type")``, to the line (from 1) in which it begins.

    ``text`` must be valid JSON.
    """
    return _Lines(text).of_all()


class _Lines:
    def __init__(self, text: str) -> None:
        self._tokens = [(found[0], found.start()) for found in _TOKEN.finditer(text)]
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._at = 0
        self._lines: dict[Path, int] = {}

    def of_all(self) -> dict[Path, int]:
        self._value(())
        return self._lines

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][0]

    def _value(self, path: Path) -> None:
        self._lines[path] = bisect(self._breaks, self._tokens[self._at][1]) + 1
        opened = self._next()
        if opened not in ("{", "["):
            return
        number = 0
        while self._tokens[self._at][0] not in ("}", "]"):
            step: str | int = number
            if opened == "{":
                step = json.loads(self._next())
                self._next()  # the colon
            self._value((*path, step))
            number += 1
            if self._tokens[self._at][0] == ",":
                self._next()
        self._next()
