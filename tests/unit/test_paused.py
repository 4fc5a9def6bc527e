"""A run that somebody pauses in Prefect's UI while it works ends as paused, and holds nothing any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.states import Suspended

import tasks.paused
from redrive.errors import StoppedError
from redrive.ledger import Ledger
from redrive.pump.governor import Governor
from tasks import ending, live, operations
from tasks.approval import WAITS
from tasks.board import Board
from tasks.dlq_correction import report as correction_report
from tasks.live import Live, Words
from tasks.operations import Run
from tasks.partition_rebalance import report as partitions_report
from tasks.partition_rebalance.steps import Decided
from tasks.paused import PAUSED, was_paused
from tasks.schema_backfill import report as backfill_report
from tasks.standby_replay import report as replay_report


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """When it is set, Prefect's engine has seen that the run is suspended."""
    paused = threading.Event()
    context = SimpleNamespace(flow_run_suspension_request=SimpleNamespace(is_requested=paused.is_set))
    monkeypatch.setattr(tasks.paused, "FlowRunContext", SimpleNamespace(get=lambda: context))
    return paused


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield ledger


@pytest.fixture
def run(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that holds a topic. There is no server that it could be tagged at."""
    monkeypatch.setattr(operations, "get_run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(operations, "get_client", lambda **_: nullcontext())
    monkeypatch.setattr(operations, "tag", lambda *_, **__: None)
    run = Run(ledger, FlowRun(id=uuid4(), flow_id=uuid4()), "standby-replay")
    run.begin("run", "main", ["main/orders"], {})
    run.claim([("main", "orders")], all_or_none=True)
    return run


def test_outside_of_a_run_nothing_is_paused() -> None:
    assert not was_paused()


def test_whatever_step_it_ends_at_the_ledger_has_it_as_paused_and_nothing_is_held(ledger: Ledger, run: Run) -> None:
    assert ledger.held()
    with pytest.raises(Pause), run.alive():
        raise Pause(state=Suspended())
    row = ledger.operation(run.id)
    assert (row.status, row.evidence) == ("paused", {"reason": PAUSED})
    assert ledger.held() == {}


def test_a_run_that_suspends_to_ask_for_approval_says_so(ledger: Ledger, run: Run) -> None:
    run.finish("paused", evidence={"reason": WAITS})
    with pytest.raises(Pause), run.alive():
        raise Pause(state=Suspended())
    assert ledger.operation(run.id).evidence == {"reason": WAITS}


def test_the_thread_that_reports_stops_the_work(pause: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "get_run_logger", lambda: logging.getLogger("run"))
    governor = Governor()
    run = SimpleNamespace(job="standby-replay", flow_run="1", lost=threading.Event())
    reports = Live(cast(Any, run), Board({}), governor, None, Words("lane", "open again"))
    reports._tick(cast(Any, None), percent=None)
    governor.check()
    pause.set()
    reports._tick(cast(Any, None), percent=None)
    with pytest.raises(StoppedError, match=PAUSED):
        governor.check()


@pytest.mark.parametrize("job", [replay_report, correction_report, backfill_report, partitions_report])
@pytest.mark.parametrize(("paused", "word"), [(True, "paused"), (False, "cancelled")])
def test_the_report_says_paused_and_how_to_go_on(  # noqa: PLR0917
    job: ModuleType, paused: bool, word: str, pause: threading.Event, ledger: Ledger, run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(ending, "close", lambda _run, word, words, *_: told.append((word, words)))
    if paused:
        pause.set()
    what = (Decided([], [], "", []), None) if job is partitions_report else (Board({}),)
    job.cancelled(run, *what)
    [(as_what, words)] = told
    assert as_what == ledger.operation(run.id).status == word
    assert ("Resume" in words) == paused
    assert ledger.held() == {}
