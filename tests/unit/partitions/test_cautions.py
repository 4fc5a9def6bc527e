"""What is to be known of moves before they are carried out, beside how much they copy."""

from __future__ import annotations

from redrive.partitions.cautions import cautions, of_health
from redrive.partitions.layout import Move
from tasks.partition_rebalance.plan import headline


def test_replicas_that_are_taken_away_are_told_and_where_too_few_are_left() -> None:
    moves = [Move("orders", number, (1, 2, 3), (1,), 10**12) for number in range(7)]
    fewer, below = cautions(moves, {"orders": 2})
    names = ", ".join(f"orders/{number}" for number in range(5)) + " and 2 more"
    assert fewer == f"Fewer replicas than now: {names}."
    assert below.startswith(f"Fewer replicas than min.insync.replicas asks for: {names}.")
    assert len(cautions(moves, {})) == 1
    assert headline(moves) == "0 partitions to move, 0 B to copy; 7 partitions lose replicas"


def test_a_partition_whose_producers_are_stopped_while_it_moves_is_named() -> None:
    """Kafka counts replicas on their way, so that one replica of one becomes one of two."""
    one, two = Move("orders", 0, (1,), (2,), 10), Move("orders", 1, (1, 2), (3, 2), 10)
    (told,) = cautions([one, two], {"orders": 2})
    assert told.startswith("Fewer replicas now than min.insync.replicas asks for: orders/0. While")
    assert cautions([one, two], {"orders": 1}) == []
    assert cautions([Move("orders", 0, (1, 2), (2, 1), 10)], {"orders": 3}) == []  # nothing is on its way


def test_partitions_under_min_isr_are_named_by_whether_moves_wait_for_them() -> None:
    first, second = ("orders", 0), ("orders", 1)
    (told,) = of_health([first, second], [])
    assert told.startswith("Under min ISR already, and so nothing that moves wait for: orders/0, orders/1. Kafka")
    known, new = of_health([first, second], [], before={second})
    assert known.startswith("Under min ISR already, and so nothing that moves wait for: orders/1.")
    assert new == "Under min ISR since these moves began: orders/0. No more begin before that is mended."
    assert of_health([], [], before={first}) == []


def test_partitions_without_a_leader_are_what_moves_wait_for_however_long_they_have_been_so() -> None:
    """They have too few replicas in sync as well, and those of before keep no move waiting."""
    offline, under = ("orders", 0), ("orders", 1)
    waits = "Without a leader: orders/0. No move begins before that is mended."
    alone, under_too = of_health([offline, under], [offline]), of_health([offline, under], [offline], before={offline})
    assert alone[0] == under_too[0] == waits
    assert [told.split(". ")[0] for told in alone[1:]] == [
        "Under min ISR already, and so nothing that moves wait for: orders/1"
    ]
    assert [told.split(". ")[0] for told in under_too[1:]] == ["Under min ISR since these moves began: orders/1"]
    assert of_health([offline], [offline], before={offline}) == [waits]
