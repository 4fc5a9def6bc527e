"""What people are to read in the log of the run is there: only the run's own logger reaches Prefect."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

import pytest

from redrive.errors import UnavailableError
from redrive.health.facts import fault
from redrive.pump.governor import Governor
from redrive.standby.lanes import Lane
from tasks import protection
from tasks.board import Board
from tasks.cluster_health import steps as health
from tasks.protection import Protect, see_that_group_is_known
from tasks.standby_replay import drain
from tasks.standby_replay.drain import Draining
from tests.unit.health.test_health import GOOD


@pytest.fixture(autouse=True)
def _run_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (drain, health, protection):
        monkeypatch.setattr(part, "get_run_logger", lambda: logging.getLogger("run"))


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.name == "run")


def test_where_a_fault_of_ours_in_a_look_at_a_cluster_has_come_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look(*_: object) -> list[Any]:
        try:
            raise KeyError(3)
        except KeyError as error:
            return [replace(GOOD, lags=fault(error)), GOOD]

    monkeypatch.setattr(health, "look", look)
    health.look_at_clusters(cast(Any, None), ["c0", "c1"])
    assert "of consumer groups nothing is known" in said(caplog)
    assert "Traceback (most recent call last)" in said(caplog)
    assert said(caplog).count("KeyError: 3") == 1


def test_that_the_standby_table_is_not_tidied_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def tidy(*_: object) -> None:
        raise UnavailableError("DynamoDB", "no answer")

    monkeypatch.setattr(drain, "open_store", lambda _: None)
    monkeypatch.setattr(drain, "tidy", tidy)
    work = Draining(cast(Any, None), Governor(), Board({}), operation="1", settle=0, patience=1, before=lambda _: None)
    work.tidy([Lane("main", "orders", 0)])
    work.tidying.shutdown()
    assert "the standby table is not tidied up" in said(caplog)


def test_that_nobody_knows_whether_a_consumer_group_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lags(*_: object) -> list[Any]:
        raise UnavailableError("cluster main", "no answer")

    monkeypatch.setattr(protection, "_lags", lags)
    see_that_group_is_known(cast(Any, None), Protect(group="billing"), [("main", "orders")])
    assert "whether consumer group billing is there is not known" in said(caplog)
