"""How far a move has come is read from the cluster alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrive.partitions.layout import Move
from redrive.partitions.progress import Step, costs_nothing, replicas_if_cancelled, step_of
from redrive.partitions.state import Ongoing, PartitionState

REPLICAS = st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True).map(tuple)
MOVES = st.builds(Move, st.just("t"), st.just(0), REPLICAS, REPLICAS)


def partition(*replicas: int) -> PartitionState:
    return PartitionState("t", 0, replicas, replicas[0], frozenset(replicas))


def under_way(move: Move) -> tuple[PartitionState, Ongoing]:
    """What Kafka shows of a move under way: the new replicas in their order, then those that go."""
    return partition(*move.after, *move.removed), Ongoing(move.after, move.added, move.removed)


MOVE = Move("t", 0, (1, 2, 3), (4, 2, 1))


@pytest.mark.parametrize(
    ("replicas", "step"),
    [
        ((1, 2, 3), Step.PENDING),
        ((4, 2, 1), Step.DONE),
        ((2, 1, 3), Step.PENDING),  # cancelled half way
        ((4, 2, 1, 3), Step.IN_FLIGHT),  # ended, and the broker does not know yet
        ((3, 2, 1), Step.CHANGED),
        ((5, 6), Step.CHANGED),
    ],
)
def test_replicas_at_rest_tell_how_far_a_move_has_come(replicas: tuple[int, ...], step: Step) -> None:
    assert step_of(MOVE, partition(*replicas), None) is step


@pytest.mark.parametrize(
    ("target", "step"),
    [
        ((4, 2, 1), Step.IN_FLIGHT),
        ((1, 2, 3), Step.PENDING),  # its own way back
        ((2, 4, 1), Step.TAKEN),
        ((5, 6), Step.TAKEN),
    ],
)
def test_a_reassignment_under_way_is_ours_only_if_it_goes_where_the_move_goes(
    target: tuple[int, ...], step: Step
) -> None:
    removing = tuple({1, 2, 3, 4} - set(target))
    assert step_of(MOVE, partition(4, 2, 1, 3), Ongoing(target, (), removing)) is step


def test_a_way_to_where_a_move_begins_from_elsewhere_is_somebody_else_s() -> None:
    assert step_of(MOVE, partition(1, 2, 3, 6), Ongoing((1, 2, 3), (3,), (6,))) is Step.TAKEN


def test_a_partition_that_does_not_exist_is_gone() -> None:
    assert step_of(MOVE, None, None) is Step.GONE


@given(MOVES)
def test_every_state_that_a_killed_run_can_leave_is_taken_up_again(move: Move) -> None:
    left = [
        (partition(*move.before), None),
        under_way(move),
        under_way(move.back()),
        (partition(*move.after), None),
        (partition(*replicas_if_cancelled(move)), None),
    ]
    for way in (move, move.back()):
        assert {step_of(way, *each) for each in left} <= {Step.PENDING, Step.IN_FLIGHT, Step.DONE}


@given(MOVES)
def test_a_way_there_is_done_just_where_its_way_back_begins(move: Move) -> None:
    assert step_of(move, partition(*move.after), None) is Step.DONE
    if move.before != move.after:
        assert step_of(move.back(), partition(*move.after), None) is Step.PENDING


@given(MOVES, REPLICAS)
def test_what_nobody_of_us_has_ordered_is_never_pending(move: Move, replicas: tuple[int, ...]) -> None:
    known = {move.before, move.after, replicas_if_cancelled(move), replicas_if_cancelled(move.back())}
    if replicas not in known:
        assert step_of(move, partition(*replicas), None) in {Step.CHANGED, Step.IN_FLIGHT}
        if set(replicas) != {*move.before, *move.after}:
            assert step_of(move, partition(*replicas), None) is Step.CHANGED


def test_a_new_order_costs_nothing_and_a_new_replica_does() -> None:
    assert costs_nothing(Move("t", 0, (1, 2, 3), (3, 1, 2)), partition(1, 2, 3), None)
    assert not costs_nothing(MOVE, partition(1, 2, 3), None)


def test_a_replica_given_up_is_not_for_nothing_unless_it_has_only_begun_to_come() -> None:
    assert not costs_nothing(Move("t", 0, (1, 2, 3), (1, 2)), partition(1, 2, 3), None)
    assert costs_nothing(MOVE.back(), *under_way(MOVE))
    assert not costs_nothing(MOVE.back(), partition(*MOVE.after), None)
