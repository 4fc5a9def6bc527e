"""What a switch has brought back that was killed before it could prove it is proved by whoever comes next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from redrive.aliases.alias import Alias
from redrive.aliases.switching import Switched
from redrive.ledger import Ledger, Operation
from redrive.pump.evidence import Evidence
from redrive.pump.proof import Proof
from redrive.standby.lanes import Lane
from tasks.schema_backfill import switching
from tasks.schema_backfill.switching import prove_what_was_brought
from tasks.standby_replay.earlier import SWITCHING, Earlier, unproved

ORDERS = ("one", "orders")
LANES = [Lane(*ORDERS, number) for number in range(2)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield ledger


def begin(ledger: Ledger, job: str = "schema-backfill", plan: dict[str, Any] | None = None) -> Operation:
    operation = ledger.begin(job, "run", cluster="one", resources=["one"], who="a test", parameters={})
    operation.plan(plan or {"goal": "switch_producers", "lanes": []})
    return operation


def switch(ledger: Ledger) -> Operation:
    """A run that has begun to bring lanes over."""
    operation = begin(ledger)
    operation.note(SWITCHING, {"cluster": "one", "topic": "orders"})
    return operation


def left(ledger: Ledger, by: Operation) -> list[tuple[str, Any]]:
    run: Any = SimpleNamespace(ledger=ledger, id=by.id)
    return [(earlier.operation, earlier.topics) for earlier in unproved(run)]


@pytest.mark.parametrize("job", ["schema-backfill", "standby-replay"])
def test_it_is_found_by_the_next_switch_and_by_the_next_replay(ledger: Ledger, job: str) -> None:
    killed = switch(ledger)
    assert left(ledger, begin(ledger, job)) == [(killed.id, (ORDERS,))]
    assert left(ledger, killed) == [], "it is no earlier run to itself"


def test_a_switch_takes_up_what_replays_have_left_as_well(ledger: Ledger) -> None:
    replay = begin(
        ledger, "standby-replay", {"lanes": [{"cluster": "one", "topic": "orders", "lane": 0, "epochs": [1]}]}
    )
    assert left(ledger, begin(ledger)) == [(replay.id, (ORDERS,))]


@pytest.mark.parametrize("job", ["schema-backfill", "standby-replay"])
def test_it_is_left_alone_once_another_has_proved_it(ledger: Ledger, job: str) -> None:
    killed = switch(ledger)
    begin(ledger, job).finish("done", "proved", {}, {"earlier": {killed.id: 40}})
    assert left(ledger, begin(ledger)) == []


def test_a_run_that_has_replayed_no_lane_or_has_proved_them_has_left_nothing(ledger: Ledger) -> None:
    begin(ledger)  # it was killed while it copied
    switch(ledger).finish("paused", None, {}, {"switched": {"read_back": True}})  # a partition was stuck
    switch(ledger).finish("done", "proved")
    unverified = switch(ledger)
    unverified.finish("failed", None, {}, {"switched": {"read_back": False}})
    cut_off = switch(ledger)
    cut_off.finish("failed", None, {}, {"switched": None})
    assert {operation for operation, _ in left(ledger, begin(ledger))} == {unverified.id, cut_off.id}


class Lanes:
    """What a run finds when it proves: its own is well, and of the earlier one's, this."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, verdict: Any = "proved") -> None:
        self.tidied: list[Any] = []
        findings = [] if verdict == "proved" else ["3 events are missing"]
        monkeypatch.setattr(switching, "open_store", lambda _: None)
        monkeypatch.setattr(switching, "survey", lambda *_: [SimpleNamespace(lane=lane) for lane in LANES])
        monkeypatch.setattr(switching, "verify_topic", lambda *_, **__: Proof("proved", [], {"own": 5}, 5, 0.0))
        monkeypatch.setattr(switching, "tidy_up", lambda _, lanes: self.tidied.extend(lanes))
        monkeypatch.setattr(
            switching,
            "verify_all_earlier",
            lambda _, earlier, **__: [(each, [Proof(verdict, findings, {"theirs": 7}, 7, 0.0)]) for each in earlier],
        )


def proved(brought: int, earlier: list[Earlier]) -> Switched:
    work: Any = SimpleNamespace(config=None, cluster="one", run=SimpleNamespace(id="next"))
    results: Any = tuple(SimpleNamespace(lane=lane) for lane in LANES[:brought])
    done = Switched(Alias("orders", "orders.v2", "orders.v2", 1, 1, "{}"), 2, 5, 1.0, "", results)
    return prove_what_was_brought(work, done, earlier)


EVIDENCE = {"one": {LANES[0].unit: {"orders.v2": Evidence(7)}}}
KILLED = Earlier("killed", datetime.now(UTC), (ORDERS,), evidence=EVIDENCE)


@pytest.mark.parametrize("brought", [0, 1], ids=["it had brought all over", "the next one had to go on"])
def test_what_a_killed_switch_has_brought_is_proved_and_then_goes_from_the_store(
    monkeypatch: pytest.MonkeyPatch, brought: int
) -> None:
    lanes = Lanes(monkeypatch)
    done = proved(brought, [KILLED])
    assert (done.findings, done.unverified, done.earlier) == ((), "", {"killed": 7})
    assert sorted(lanes.tidied, key=str) == LANES


def test_what_is_not_found_of_it_is_told_and_stays_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = Lanes(monkeypatch, "failed")
    done = proved(1, [KILLED])
    assert done.findings == ("3 events are missing",)
    assert lanes.tidied == []


def test_it_is_left_to_the_next_run_if_kafka_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = Lanes(monkeypatch)

    def none_of_them(*_: object, away: dict[str, str], **__: object) -> list[Any]:
        away["one"] = "Kafka one is unavailable: it is away"
        return []

    monkeypatch.setattr(switching, "verify_all_earlier", none_of_them)
    done = proved(1, [KILLED])
    assert "it is away" in done.unverified
    assert (done.earlier, lanes.tidied) == ({}, [])


def test_what_a_replay_of_several_topics_has_left_is_for_a_replay_and_stays_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lanes = Lanes(monkeypatch)
    done = proved(1, [Earlier("of two", datetime.now(UTC), (ORDERS, ("one", "refunds")))])
    assert (done.findings, done.unverified, done.earlier) == ((), "", {})
    assert lanes.tidied == []
