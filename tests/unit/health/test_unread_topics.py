"""Which topics a look at a cluster counts the unread dead letters of: not those that a triage could not read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect.events.schemas.events import Event
from prefect.logging import disable_run_logger

from redrive.config import Config
from redrive.deadletters.triage import Triaged
from redrive.health.facts import Books
from redrive.health.judging import judge
from redrive.ledger import Ledger
from tasks.cluster_health import unread
from tasks.dlq_triage import report as triage_report
from tasks.dlq_triage.steps import Failure, Overview
from tests.ledger.letters import begin
from tests.unit.health.test_health import GOOD, NOW, run
from tests.unit.one_cluster import one_cluster

Told = Callable[[str | None], list[str]]
"""Operation of the cluster's last triage, which has failed → the topics that are told."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return one_cluster(tmp_path, "orders", "dlq.a", "dlq.b", cluster="east")


@pytest.fixture
def told(config: Config, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Tell of topics of which each has one letter that nobody has read."""
    sent: list[Event] = []
    monkeypatch.setattr(unread, "send", sent.extend)
    monkeypatch.setattr(unread, "unread_letters", lambda _, __, topics, *___: dict.fromkeys(sorted(topics), 1))
    monkeypatch.setattr(unread, "LIMIT", 120.0)

    def told(failed: str | None) -> list[str]:
        sent.clear()
        last = run("done", unread.TRIAGE) if failed is None else run("failed", unread.TRIAGE, failed)
        with disable_run_logger():
            unread.tell_unread(config, [judge(replace(GOOD, books=Books({}, {}, (), (last,))))])
        return [topic for event in sent for topic in event.payload["topics"]]

    return told


def triage(config: Config, monkeypatch: pytest.MonkeyPatch, done: list[Triaged], failed: list[Failure]) -> str:
    """End a triage as its flow does; give its id."""
    monkeypatch.setattr(triage_report, "tell_growth", lambda *_: [])
    monkeypatch.setattr(triage_report, "close", lambda *_: "")
    with Ledger.open(config.ledger_url()) as ledger:
        return end(ledger, done, failed)[0]


def end(ledger: Ledger, done: list[Triaged], failed: list[Failure]) -> tuple[str, str]:
    """End a triage of these topics as its flow does; give its id, and its last state's name."""
    resources = [f"{topic.cluster}/{topic.topic}" for topic in (*done, *failed)]
    operation = ledger.begin("dlq-triage", "run", cluster="east", resources=resources, who="anna", parameters={})
    at_work: Any = SimpleNamespace(
        finish=operation.finish,
        ledger=ledger,
        earlier=lambda: [row for row in ledger.operations(50, "dlq-triage") if row.id != operation.id],
    )
    state = triage_report.finish_triage(cast(Any, at_work), "run", done, failed, Overview((), (), (), NOW))
    return operation.id, str(state.name)


def test_letters_of_other_topics_are_told_while_one_waits_to_be_accepted(
    config: Config, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(None) == ["dlq.a", "dlq.b"]
    waits = Triaged("east", "dlq.a", made_anew=(0,))
    assert told(triage(config, monkeypatch, [waits, Triaged("east", "dlq.b")], [])) == ["dlq.b"]
    elsewhere = Failure("west", "dlq.a", "the cluster does not answer")
    assert told(triage(config, monkeypatch, [Triaged("east", "dlq.a")], [elsewhere])) == ["dlq.a", "dlq.b"]


def test_nothing_is_told_after_a_triage_that_failed_before_it_could_say_where(config: Config, told: Told) -> None:
    with Ledger.open(config.ledger_url()) as ledger:
        operation = begin(ledger)
        operation.finish("failed", evidence={"error": "a mistake"})
    assert told(operation.id) == []
    assert told("of another ledger") == []


def test_people_are_told_once_of_a_topic_that_waits_to_be_accepted(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each run that fails they are told; one starts each hour, and with each letter that comes to another topic."""
    monkeypatch.setattr(triage_report, "tell_growth", lambda *_: [])
    monkeypatch.setattr(triage_report, "close", lambda *_: "")
    waits, well = Triaged("east", "dlq.a", made_anew=(0,)), Triaged("east", "dlq.a")
    other, gone = Triaged("east", "dlq.b"), Failure("east", "dlq.b", "there is no such topic")
    with Ledger.open(config.ledger_url()) as ledger:

        def ended(done: list[Triaged], failed: list[Failure]) -> str:
            return end(ledger, done, failed)[1]

        assert [ended([waits, other], []) for _ in range(3)] == ["Failed", "Cancelled", "Cancelled"]
        assert ended([other], []) == "Completed"  # one that was asked for the other topic alone
        assert [ended([waits], [gone]) for _ in range(2)] == ["Failed", "Cancelled"]
        away = Failure("east", "dlq.a", "it does not answer")
        assert ended([other], [away]) == "Failed"
        assert ended([waits, other], []) == "Failed", "that is another reason"
        assert ended([well, other], []) == "Completed"
        assert ended([waits, other], []) == "Failed"
        assert [row.status for row in ledger.operations(50, "dlq-triage")].count("failed") == 8
