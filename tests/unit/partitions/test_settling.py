"""How debts are settled, on a cluster of paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from redrive.ledger import Ledger
from redrive.partitions import settling
from redrive.partitions.layout import Move
from redrive.partitions.settling import NEEDED, settle_all, settle_idle
from redrive.partitions.state import Resource, Setting
from redrive.partitions.throttle import Throttle
from redrive.partitions.throttle_settings import FOLLOWER_RATE, FOLLOWER_REPLICAS
from tests.unit.partitions.on_paper import Paper, debt

FIRST, SECOND = Move("first", 0, (1, 2), (3, 2), 10), Move("second", 0, (1, 2), (3, 2), 100)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield ledger


def test_what_partitions_move_behind_is_not_settled_unless_that_is_asked_for(ledger: Ledger) -> None:
    paper = Paper(FIRST, SECOND)
    paper.reassign({("first", 0): (3, 2)})
    for name, setting in (("3", FOLLOWER_RATE), ("4", FOLLOWER_RATE), ("first", FOLLOWER_REPLICAS)):
        debt(ledger, paper, name, setting, "0:3" if setting == FOLLOWER_REPLICAS else "5")
    debt(ledger, paper, "second", FOLLOWER_REPLICAS, "0:3")
    operation = ledger.begin("debts", "run", cluster="east", resources=["east"], who="x", parameters={})
    settlement = settle_idle(paper, ledger.debts, operation)
    assert {row.name for row in ledger.debts.owed()} == {"3", "first"}
    assert set(settlement.left.values()) == {NEEDED}
    assert {resource.name for resource, _ in paper.set} == {"3", "first"}
    settle_all(paper, ledger.debts, operation)
    assert (ledger.debts.owed(), paper.set) == ([], {})


def test_what_looks_as_before_is_set_all_the_same(ledger: Ledger) -> None:
    """A broker may not have heard of our value yet, or an order of ours may still be on its way."""
    ordered: list[Any] = []

    class Noting(Paper):
        def configure(self, changes: Mapping[Resource, Mapping[str, str | None]]) -> dict[Any, Any]:
            ordered.append({str(resource): dict(change) for resource, change in changes.items()})
            return super().configure(changes)

    paper = Noting(FIRST)
    debt(ledger, paper, "3")
    paper.set.clear()
    operation = ledger.begin("debts", "run", cluster="east", resources=["east"], who="x", parameters={})
    settle_all(paper, ledger.debts, operation)
    assert ordered == [{"broker 3": {FOLLOWER_RATE: None}}]


class Late(Paper):
    """Its brokers still tell the old settings for so many times that they are asked after an order."""

    late = 0

    def configure(self, changes: Mapping[Resource, Mapping[str, str | None]]) -> dict[Any, Any]:
        if changes:
            self.told, self.times = dict(self.set), self.late
        return super().configure(changes)

    def settings(self, resources: Iterable[Resource], names: Iterable[str]) -> dict[Resource, dict[str, Setting]]:
        present, self.times = self.set, getattr(self, "times", 0) - 1
        try:
            self.set = self.told if self.times >= 0 else present
            return super().settings(resources, names)
        finally:
            self.set = present


def test_a_debt_is_paid_once_the_brokers_tell_so(ledger: Ledger) -> None:
    paper = Late(FIRST)
    debt(ledger, paper, "3")
    paper.late = 3
    operation = ledger.begin("debts", "run", cluster="east", resources=["east"], who="x", parameters={})
    settled = settle_all(paper, ledger.debts, operation)
    assert list(settled.settled.values()) == ["restored"]
    assert not settled.left
    assert paper.times < 0, "nobody has waited until all had heard"


def test_a_debt_stays_owed_while_a_broker_tells_the_old_setting(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "HEARD_WITHIN", 0.2)
    paper = Late(FIRST)
    debt(ledger, paper, "3")
    paper.late = 1_000_000
    operation = ledger.begin("debts", "run", cluster="east", resources=["east"], who="x", parameters={})
    settled = settle_all(paper, ledger.debts, operation)
    assert list(settled.left.values()) == ["broker 3 tells the old one still, or nothing, 0.2 s after the order"]
    assert [row.name for row in ledger.debts.owed()] == ["3"]


def test_a_broker_that_falls_silent_after_the_order_has_not_said_that_it_has_heard(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "HEARD_WITHIN", 0.2)

    class Falling(Paper):
        def configure(self, changes: Mapping[Resource, Mapping[str, str | None]]) -> dict[Any, Any]:
            self.silent.add(Resource("broker", "3"))
            return super().configure({})

    paper = Falling(FIRST)
    debt(ledger, paper, "3")
    operation = ledger.begin("debts", "run", cluster="east", resources=["east"], who="x", parameters={})
    settled = settle_all(paper, ledger.debts, operation)
    assert not settled.settled
    assert [row.name for row in ledger.debts.owed()] == ["3"]


def test_entries_of_ours_that_a_broker_tells_once_more_are_nobody_else_s(ledger: Ledger) -> None:
    """Of a topic any broker is asked: one that has not heard yet tells what was settled a moment ago."""
    again = Move("first", 1, (1, 2), (3, 2), 10)
    paper = Late(FIRST, SECOND, again)
    operation = ledger.begin("partition-rebalance", "run", cluster="east", resources=["east"], who="x", parameters={})
    throttle = Throttle(paper, ledger.debts, operation, 1_000)
    throttle.cover([FIRST])
    old = dict(paper.set)
    throttle.cover([SECOND])  # first's list is as before
    paper.told, paper.times = old, 2
    throttle.cover([SECOND, again])
    throttle.lift()
    assert paper.set == {}
