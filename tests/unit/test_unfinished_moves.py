"""Which run is gone on with, or taken back; and by what its plan is judged then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from redrive.errors import GoalError, StalePlanError
from redrive.ledger import Ledger, Operation, Status
from redrive.partitions.layout import Move, Partition
from redrive.partitions.rebalancing import left_to_do, moves_of, way_back
from redrive.partitions.state import Key, Ongoing, PartitionState
from tasks.operations import MOVING, ROLLING_BACK, UNDER_MIN_ISR, Run
from tasks.partition_rebalance.steps import Moving, hold_on, without_others
from tasks.partition_rebalance.unfinished import of_which_run, require_last, under_min_isr_before, unfinished


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield ledger


def plan(topic: str) -> dict[str, Any]:
    moves = [[topic, 0, [1, 2], [3, 2], 10], [topic, 1, [1, 2], [3, 2], 10]]
    return {"job": "partition-rebalance", "cluster": "east", "goal": {"mode": "balance"}, "moves": moves}


def begin(ledger: Ledger, name: str) -> Operation:
    given = {"cluster": "east", "resources": ["east"], "who": "x", "parameters": {}}
    return ledger.begin("partition-rebalance", "run", operation_id=name, **given)  # type: ignore[arg-type]


def moves(
    ledger: Ledger, name: str, kept: dict[str, Any], ended: Status, under_min_isr: list[list[Any]] | None = None
) -> None:
    """A run that moves what it has planned, as far as it comes."""
    operation = begin(ledger, name)
    operation.plan(kept)
    operation.note(MOVING, {} if under_min_isr is None else {UNDER_MIN_ISR: under_min_isr})
    operation.finish(ended)


def topics(kept: dict[str, Any]) -> set[str]:
    return {move.topic for move in moves_of(kept)}


def taken(ledger: Ledger, *, back: bool) -> dict[str, Any]:
    return unfinished(cast(Run, SimpleNamespace(ledger=ledger, id="me")), "east", back=back)


def test_the_run_that_was_the_last_to_order_moves_counts_not_the_one_that_began_last(ledger: Ledger) -> None:
    monday = begin(ledger, "monday")
    monday.plan(plan("big"))
    monday.finish("paused")  # it waits for approval
    moves(ledger, "tuesday", plan("other"), "done")
    wednesday = begin(ledger, "monday")
    wednesday.note(MOVING, {})
    wednesday.finish("cancelled")
    for back in (False, True):
        kept = taken(ledger, back=back)
        assert topics(kept) == {"big"}
        (told,) = of_which_run(kept)
        assert told.startswith(f"This {'takes back' if back else 'goes on with'} run monday, which began to move on 20")


def test_a_run_that_was_refused_before_it_ordered_anything_hides_none(ledger: Ledger) -> None:
    moves(ledger, "first", plan("first"), "cancelled")
    refused = begin(ledger, "refused")
    refused.plan(plan("refused"))
    refused.finish("refused")
    assert topics(taken(ledger, back=True)) == {"first"}


def test_however_many_plans_were_made_since_it_is_found(ledger: Ledger) -> None:
    moves(ledger, "first", plan("first"), "cancelled")
    for number in range(60):
        begin(ledger, f"plan-{number}").finish("done")
    assert topics(taken(ledger, back=False)) == {"first"}


@pytest.mark.parametrize("back", [False, True], ids=["go_on", "roll_back"])
def test_a_way_back_that_was_cut_off_goes_on_back_by_either_goal(ledger: Ledger, back: bool) -> None:
    moves(ledger, "first", plan("first"), "failed")
    way = taken(ledger, back=True)
    moves(ledger, "second", way, "failed")
    kept = taken(ledger, back=back)
    assert moves_of(kept) == moves_of(way_back(plan("first")))
    assert "takes back run first" in of_which_run(kept)[0]


@pytest.mark.parametrize("back", [False, True], ids=["go_on", "roll_back"])
def test_a_run_that_was_cut_off_on_its_own_way_back_goes_on_back_by_either_goal(ledger: Ledger, back: bool) -> None:
    operation = begin(ledger, "first")
    operation.plan(plan("first"))
    operation.note(MOVING, {})
    operation.note(ROLLING_BACK, {})
    assert moves_of(taken(ledger, back=back)) == moves_of(way_back(plan("first")))
    operation.finish("failed", evidence={"back": {"stopped": "", "not_done": {}}})
    with pytest.raises(GoalError, match="has taken its moves back"):
        taken(ledger, back=back)


def test_what_has_come_to_its_end_is_not_gone_on_with_nor_taken_back_twice(ledger: Ledger) -> None:
    moves(ledger, "first", plan("first"), "done")
    with pytest.raises(GoalError, match="left nothing undone"):
        taken(ledger, back=False)
    moves(ledger, "second", taken(ledger, back=True), "done")
    with pytest.raises(GoalError, match="has taken its moves back"):
        taken(ledger, back=True)


def still_last(ledger: Ledger, name: str, kept: dict[str, Any]) -> None:
    require_last(cast(Run, SimpleNamespace(ledger=ledger, id=name)), "east", kept)


def test_a_run_that_is_retried_orders_nothing_again_that_another_run_has_taken_back(ledger: Ledger) -> None:
    moves(ledger, "first", plan("first"), "failed")
    still_last(ledger, "first", plan("first"))
    moves(ledger, "second", taken(ledger, back=True), "done")
    with pytest.raises(StalePlanError, match=r"run second has moved partitions since, or taken them back \(20"):
        still_last(ledger, "first", plan("first"))


@pytest.mark.parametrize("back", [False, True], ids=["go_on", "roll_back"])
def test_what_takes_up_a_run_holds_after_its_approval_only_if_none_has_moved_since(ledger: Ledger, back: bool) -> None:
    moves(ledger, "first", plan("first"), "failed")
    kept = taken(ledger, back=back)
    still_last(ledger, "second", kept)
    moves(ledger, "second", kept, "failed")
    still_last(ledger, "second", kept)  # its own moves, when it is retried
    moves(ledger, "third", plan("third"), "done")
    with pytest.raises(StalePlanError, match="run third has moved"):
        still_last(ledger, "second", kept)


def test_what_is_gone_on_with_is_measured_by_how_well_the_cluster_was_before_it_began(ledger: Ledger) -> None:
    def before(name: str, kept: dict[str, Any]) -> frozenset[Key] | None:
        return under_min_isr_before(cast(Run, SimpleNamespace(ledger=ledger, id=name)), kept)

    begin(ledger, "first")
    assert before("first", plan("first")) is None
    moves(ledger, "first", plan("first"), "failed", [["old", 3]])
    assert before("first", plan("first")) == {("old", 3)}  # when it is retried
    assert before("second", taken(ledger, back=False)) == {("old", 3)}
    assert before("second", taken(ledger, back=True)) is None
    moves(ledger, "third", plan("third"), "failed")  # of a version that did not note it
    assert before("fourth", taken(ledger, back=False)) is None


def at(number: int, *replicas: int) -> PartitionState:
    return PartitionState("t", number, replicas, replicas[0], frozenset(replicas))


def looking_at(
    *partitions: PartitionState,
    ongoing: Mapping[Key, Ongoing] | None = None,
    usable: int | None = None,
    size: int = 10,
) -> Moving:
    brokers = [SimpleNamespace(id=id_, up=True, size=100, usable=usable) for id_ in (1, 2, 3)]
    by_key = {each.key: each for each in partitions}
    layout = SimpleNamespace(partitions=[Partition("t", each.number, each.replicas, size) for each in partitions])
    picture = SimpleNamespace(brokers=brokers, partitions=by_key, ongoing=ongoing or {}, layout=layout)
    return cast(Moving, SimpleNamespace(picture=picture))


@pytest.mark.parametrize("kept", [plan("t"), way_back(plan("t"))], ids=["go_on", "roll_back"])
def test_a_plan_that_was_carried_out_half_holds_after_its_approval_unless_somebody_else_moves_one(
    kept: dict[str, Any],
) -> None:
    hold_on(looking_at(at(0, 3, 2), at(1, 1, 2)), kept, begun=True)
    with pytest.raises(StalePlanError, match="t/1 was moved or deleted by somebody else"):
        hold_on(looking_at(at(0, 3, 2), at(1, 2, 4)), kept, begun=True)
    with pytest.raises(StalePlanError, match=r"t/\d was on"):  # a plan of its own is all or nothing
        hold_on(looking_at(at(0, 3, 2), at(1, 1, 2)), kept, begun=False)


def test_a_plan_that_was_approved_late_begins_nothing_beside_moves_that_a_dead_run_has_left() -> None:
    big = {("big", 0): Ongoing((3, 2), (3,), (1,))}
    as_planned = at(0, 1, 2), at(1, 1, 2)
    hold_on(looking_at(*as_planned), plan("t"), begun=False)
    with pytest.raises(StalePlanError, match=r"big/0 is moving already, .* goal go_on or roll_back"):
        hold_on(looking_at(*as_planned, ongoing=big), plan("t"), begun=False)


def test_a_plan_holds_after_its_approval_only_if_there_is_room_for_it_still() -> None:
    as_planned = at(0, 1, 2), at(1, 1, 2)
    hold_on(looking_at(*as_planned, usable=27), plan("t"), begun=False)  # 127 in all, of which 6 stay free
    with pytest.raises(StalePlanError, match="broker 3 has room for 19 bytes more, and 20 are to come"):
        hold_on(looking_at(*as_planned, usable=25), plan("t"), begun=False)
    with pytest.raises(StalePlanError, match="broker 3 has room for 21 bytes more, and 22 are to come"):
        hold_on(looking_at(*as_planned, usable=27, size=11), plan("t"), begun=False)  # they have grown since


def test_what_is_somebody_else_s_before_it_is_shown_is_left_out_and_told() -> None:
    work = looking_at(at(0, 3, 2), at(1, 2, 4))
    kept, told = without_others(work, plan("t"))
    assert [move.number for move in moves_of(kept)] == [0]
    assert told == ["Left as somebody else has placed, moves or deleted them: t/1."]
    hold_on(work, kept, begun=True)


def test_only_what_is_still_to_be_copied_counts() -> None:
    there = [Move("t", number, (1, 2), (3, 2), 10) for number in range(3)]
    partitions = {each.key: each for each in (at(0, 3, 2), at(1, 3, 2, 1), at(2, 1, 2))}
    ongoing = {("t", 1): Ongoing((3, 2), (3,), (1,))}
    assert [(move.number, move.bytes) for move in left_to_do(there, partitions, ongoing)] == [(1, 10), (2, 10)]
    back = [move.back() for move in there]
    # What is under way is cancelled, and copies nothing.
    assert [(move.number, move.bytes) for move in left_to_do(back, partitions, ongoing)] == [(0, 10), (1, 0)]
