"""A plan as the ledger keeps it, and what makes it stale."""

from __future__ import annotations

import json

from redrive.partitions.layout import Broker, Layout, Move, Partition
from redrive.partitions.planner import Goal, plan
from redrive.partitions.rebalancing import changed_since, moves_of, record, way_back
from redrive.partitions.state import PartitionState

MOVES = [Move("orders", 0, (1, 2), (3, 2), 10), Move("orders", 1, (2, 3), (3, 2), 10)]


def states(*replicas: tuple[int, ...]) -> dict[tuple[str, int], PartitionState]:
    return {
        ("orders", at): PartitionState("orders", at, each, each[0], frozenset(each)) for at, each in enumerate(replicas)
    }


def test_a_plan_comes_back_from_the_ledger_as_it_was() -> None:
    layout = Layout((Broker(1), Broker(2)), tuple(Partition("orders", at, (1,), 10) for at in range(6)))
    made = plan(layout, Goal("balance"))
    assert made.moves
    assert moves_of(json.loads(json.dumps(record("local", made)))) == list(made.moves)


def test_the_way_back_ends_where_the_moves_began_in_the_same_order() -> None:
    kept = {"job": "x", "cluster": "local", "goal": {}, "moves": [["orders", 0, [1, 2], [3, 2], 10]]}
    assert moves_of(way_back(kept)) == [Move("orders", 0, (3, 2), (1, 2), 10)]
    assert moves_of(way_back(way_back(kept))) == moves_of(kept)


def test_a_plan_holds_while_its_partitions_are_where_they_were() -> None:
    assert changed_since(MOVES, states((1, 2), (2, 3), (7, 8)), up=[1, 2, 3]) == []


def test_a_partition_that_was_moved_or_deleted_or_has_nowhere_to_go_makes_it_stale() -> None:
    assert changed_since(MOVES, states((2, 1)), up=[1, 2, 3]) == [
        "orders/0 was on [1, 2], and is on [2, 1]",
        "orders/1 is gone",
    ]
    assert changed_since(MOVES, states((1, 2), (2, 3)), up=[1, 2]) == [
        "broker 3, to which orders/0 is to move, is down"
    ]
