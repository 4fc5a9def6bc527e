"""Which topics are copied to others, or from them: those are not migrated in place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from redrive.config import Config
from redrive.migrations import neighbours
from redrive.migrations.neighbours import copied_with
from tests.unit.test_way_back import SETTINGS

BEGUN = "backfill/one/orders/orders.v2/1"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    def cursors(_: object, units: Iterable[str]) -> dict[str, bytes]:
        return {unit: b"a cursor" for unit in units if unit == BEGUN}

    monkeypatch.setattr(neighbours, "read_cursors", cursors)
    (tmp_path / "redrive.toml").write_text(SETTINGS)
    (tmp_path / "orders.avsc").write_text('{"type": "record", "name": "Order", "fields": []}')
    return Config.load(tmp_path / "redrive.toml")


def test_source_and_target_of_a_backfill_know_each_other_while_both_are_there(config: Config) -> None:
    both = {"orders": 2, "orders.v2": 2}
    assert copied_with(config, "orders", both) == "orders.v2"
    assert copied_with(config, "orders.v2", both) == "orders"
    assert copied_with(config, "orders.v2", {"orders.v2": 2}) is None
