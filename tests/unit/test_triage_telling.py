"""That dead letters have become more is told of each letter, whatever ends the triage that has entered it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.events import Event
from sqlalchemy import update
from sqlalchemy.engine import make_url

from redrive.deadletters.triage import Triaged
from redrive.ledger import Ledger, OperationRow
from redrive.ledger.letter_writes import Reach
from tasks import ending
from tasks.dlq_triage import report as triage_report
from tasks.dlq_triage import telling as triage_telling
from tasks.dlq_triage.report import finish_triage
from tasks.dlq_triage.steps import Failure, Overview
from tasks.operations import Run
from tests.ledger.letters import sighting

NOTHING = Overview([], [], [], datetime.now(UTC))


class Desk:
    """Triages of one topic, and what Prefect's server has been told of them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.told: list[dict[str, Any]] = []
        self.is_away = False
        self._read: int | None = None

    def send(self, events: Sequence[Event]) -> None:
        if self.is_away:
            raise httpx.ConnectError("no server")
        self.told += [event.payload for event in events]

    def enter(self, letters: int) -> Run:
        """Begin a triage, and have it enter so many letters."""
        run = Run(self.ledger, FlowRun(id=uuid4(), flow_id=uuid4()), "dlq-triage")
        run.begin("run", "local", [], {})
        begin, end = self._read, (self._read or 0) + letters
        seen = [sighting(offset) for offset in range(begin or 0, end)]
        self.ledger.letters.record(run.operation, seen, {("local", "dlq.flights", 0): Reach(begin, end)})
        self._read = end
        return run

    def silent_for(self, run: Run, minutes: int) -> None:
        """Let a run show no sign of life for so long, as one does that was killed."""
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        with self.ledger._database.writing() as session:
            session.execute(update(OperationRow).where(OperationRow.id == run.id).values(heartbeat_at=at))

    def new(self) -> list[int]:
        """Give how many new letters were told of, event by event."""
        return [payload["new"] for payload in self.told]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with Ledger.open(make_url(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        desk = Desk(ledger)
        monkeypatch.setattr(triage_telling, "send", desk.send)
        monkeypatch.setattr(triage_report, "close", lambda *_: "")
        yield desk


def end(run: Run) -> None:
    finish_triage(run, "run", [], [], NOTHING)


def test_each_triage_tells_of_what_it_has_entered_and_of_nothing_else(desk: Desk) -> None:
    end(desk.enter(3))
    end(desk.enter(0))
    end(desk.enter(2))
    assert desk.new() == [3, 2]


def test_what_a_triage_has_entered_that_was_killed_is_told_by_the_next_one_once(desk: Desk) -> None:
    end(desk.enter(3))
    desk.silent_for(desk.enter(4), minutes=10)
    end(desk.enter(0))
    end(desk.enter(0))
    assert desk.new() == [3, 4]


def test_a_triage_has_told_before_the_ledger_says_that_it_has_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(Run, "finish", killed)
    run = desk.enter(3)
    with pytest.raises(SystemExit):
        end(run)
    assert desk.new() == [3]


def test_while_the_server_is_away_nothing_is_lost(desk: Desk) -> None:
    desk.is_away = True
    run = desk.enter(3)
    with pytest.raises(httpx.ConnectError), run.alive():
        end(run)
    desk.is_away = False
    end(desk.enter(1))
    assert desk.new() == [4]


def test_what_another_triage_is_at_is_left_to_that_one(desk: Desk) -> None:
    other = desk.enter(3)
    end(desk.enter(1))
    end(other)
    assert desk.new() == [1, 3]


def state(desk: Desk, failed: Sequence[Failure], done: Sequence[Triaged] = (), mode: str = "run") -> str:
    run = Run(desk.ledger, FlowRun(id=uuid4(), flow_id=uuid4()), "dlq-triage")
    run.begin(mode, "local", ["local/dlq.flights"], {})
    return finish_triage(run, mode, done, failed, NOTHING).name or ""


BLIND = Triaged("local", "dlq.flights", made_anew=(0,))


def test_that_a_topic_is_not_triaged_is_told_once(desk: Desk) -> None:
    one, other = (Failure("local", "dlq.flights", why) for why in ("no answer", "no rights"))
    assert [state(desk, [each]) for each in (one, one, other, other)] == ["Failed", "Cancelled", "Failed", "Cancelled"]


def test_what_was_not_told_since_the_cluster_was_known_to_be_away_is_told_once_it_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [Failure("local", "dlq.flights", "no answer")]
    monkeypatch.setattr(ending, "_is_away", lambda *_: True)
    assert [state(desk, failed) for _ in range(2)] == ["Cancelled", "Cancelled"]
    monkeypatch.setattr(ending, "_is_away", lambda *_: False)
    assert [state(desk, failed) for _ in range(2)] == ["Failed", "Cancelled"]


def test_that_a_topic_was_made_anew_is_told_whether_or_not_its_cluster_is_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_is_away", lambda *_: True)
    assert [state(desk, [], [BLIND]) for _ in range(2)] == ["Failed", "Cancelled"]


def test_a_plan_by_hand_says_that_it_has_failed_and_is_no_reason_to_tell_nobody_later(desk: Desk) -> None:
    plans = [state(desk, [], [BLIND], "plan") for _ in range(2)]
    assert [*plans, state(desk, [], [BLIND])] == ["Failed"] * 3
    assert state(desk, [], [BLIND], "plan") == "Failed"
