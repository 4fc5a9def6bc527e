"""Whatever ends a switch of producers in its middle, the run says that they may be storing."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException

from flows import schema_backfill as flow
from redrive.errors import GroupInUseError, PartitionsChangedError, RefusedByClusterError
from redrive.migrations.census import Count
from tasks.backfill_report import Ending


@pytest.fixture
def endings(monkeypatch: pytest.MonkeyPatch) -> list[Ending]:
    """How runs have ended; all that comes before the switch does nothing, and well."""
    ended: list[Ending] = []
    done: dict[str, Any] = {
        "make_ready": None, "count_partitions": None, "look_at_alias": None,
        "bring": [], "compare_topics": [], "count_schemas": Count(),
        "governed": nullcontext(), "Copying": None, "get_run_logger": logging.getLogger("test"),
        "Live": nullcontext(SimpleNamespace(pace=SimpleNamespace(changes=[]))),
        "replace": SimpleNamespace(stock=None, migration=None),
    }  # fmt: skip
    for name, gives in done.items():
        monkeypatch.setattr(flow, name, lambda *_, gives=gives, **__: gives)
    monkeypatch.setattr(flow, "finish", lambda _, ending: ended.append(ending))
    return ended


@pytest.mark.parametrize(
    "error",
    [GroupInUseError("billing"), RefusedByClusterError("one", "writing", "no right"), KafkaException("what is that?")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_in_mid_switch_is_told_behind_what_producers_do(
    endings: list[Ending], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def switch(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(flow, "switch_producers", switch)
    work: Any = SimpleNamespace(run=None, standings=[], client={}, source="orders", migration=None)
    given = flow.Backfill(source="orders", target="orders.v2", goal="switch_producers")
    nothing: Any = None
    flow.carry_out(work, given, nothing, "")
    [ending] = endings
    assert ending.headline.startswith("producers of orders may be STORING")
    assert str(error) in ending.headline


def test_nobody_moves_from_a_source_that_has_got_more_partitions(
    endings: list[Ending], monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(*_: object) -> None:
        raise PartitionsChangedError("orders", 2, 3)

    monkeypatch.setattr(flow, "count_partitions", counted)
    monkeypatch.setattr(flow, "switch_producers", lambda *_, **__: pytest.fail("producers were switched"))
    work: Any = SimpleNamespace(run=None, standings=[], client={}, source="orders", migration=None)
    nothing: Any = None
    flow.carry_out(work, flow.Backfill(source="orders", target="orders.v2", goal="switch_producers"), nothing, "")
    [ending] = endings
    assert (ending.verdict, ending.status) == (None, "failed")
    assert "topic orders has 3 partitions now" in ending.unverified
