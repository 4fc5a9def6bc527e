"""Benchmarks are not run by tests; that they can be is still to hold when what they measure is moved."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.parametrize("name", sorted(file.stem for file in BENCH.glob("*.py") if not file.stem.startswith("__")))
def test_every_benchmark_finds_what_it_measures(name: str) -> None:
    importlib.import_module(f"bench.{name}")
