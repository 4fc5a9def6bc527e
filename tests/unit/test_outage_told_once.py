"""Which runs that an outage has held up end as failed, of which people are told, and which do not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from sqlalchemy.engine import make_url

from redrive.ledger import Ledger, Look
from tasks.ending import held_up
from tasks.operations import Run

KAFKA, STORE = ["Kafka east.example:9092"], ["standby store http://store.example"]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(make_url(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        yield ledger


def paused(ledger: Ledger, by: list[str], mode: str = "run") -> bool:
    """End a run of the replay as paused; say whether people are told of it."""
    run = Run(ledger, FlowRun(id=uuid4(), flow_id=uuid4()), "standby-replay")
    run.begin(mode, "east", [], {})
    run.finish("paused", evidence={"held_up_by": by})
    state = held_up(run, "paused: 3 lanes wait", ["east"], by)
    assert state.message == "paused: 3 lanes wait"
    assert state.is_failed() or state.is_cancelled()
    return state.is_failed()


def looked(ledger: Ledger, verdict: str, ago: timedelta = timedelta(seconds=30)) -> None:
    at = datetime.now(UTC) - ago
    ledger.looks.enter(Look("east", at, verdict, at))


def test_of_an_outage_that_keeps_run_after_run_from_its_work_people_are_told_once(ledger: Ledger) -> None:
    assert [paused(ledger, STORE) for _ in range(3)] == [True, False, False]


def test_another_cause_is_another_outage(ledger: Ledger) -> None:
    assert [paused(ledger, by) for by in (STORE, KAFKA, STORE)] == [True, True, True]


def test_after_a_run_that_has_come_through_they_are_told_again(ledger: Ledger) -> None:
    assert paused(ledger, STORE)
    ledger.begin("standby-replay", "run", cluster="east", resources=[], who="x", parameters={}).finish("done", "proved")
    assert paused(ledger, STORE)


@pytest.mark.parametrize(
    ("verdict", "ago", "told"),
    [
        ("unavailable", timedelta(seconds=30), False),
        ("unwell", timedelta(seconds=30), True),
        ("unavailable", timedelta(hours=1), True),
    ],
    ids=["away, and that was told", "another trouble", "nobody has looked for long"],
)
def test_of_a_run_held_up_by_a_cluster_that_is_known_to_be_away_nobody_is_told(
    ledger: Ledger, verdict: str, ago: timedelta, *, told: bool
) -> None:
    looked(ledger, verdict, ago)
    assert paused(ledger, KAFKA) is told


def test_what_nobody_knows_of_is_told(ledger: Ledger) -> None:
    run = Run(ledger, FlowRun(id=uuid4(), flow_id=uuid4()), "dlq-triage")
    run.begin("run", "east, west", [], {})
    looked(ledger, "unavailable")
    assert held_up(run, "failed: x", ["east", "west"]).is_failed(), "of the west nobody was told"
    assert held_up(run, "failed: x", ["east"]).is_cancelled()
