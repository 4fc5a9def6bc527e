"""Whether a broker that was drained may be taken away."""

from __future__ import annotations

from redrive.partitions.removal import drained
from redrive.partitions.state import BrokerState, PartitionState

BROKERS = [BrokerState(id_, f"zone-{id_ % 3}", up=True) for id_ in range(1, 7)]


def partition(topic: str, number: int, *replicas: int, leader: int | None = None) -> PartitionState:
    return PartitionState(topic, number, replicas, leader or replicas[0], frozenset(replicas))


def told(*partitions: PartitionState, leaving: tuple[int, ...] = (6,)) -> str:
    return str(drained(leaving, BROKERS, {each.key: each for each in partitions}))


def test_a_broker_that_holds_nothing_is_safe_to_remove() -> None:
    assert told(partition("orders", 0, 1, 2)) == "broker 6 is safe to remove"


def test_a_broker_that_holds_something_is_not_and_what_it_holds_is_named() -> None:
    held = [partition("orders", number, 1, 6, leader=6 if number else 1) for number in range(5)]
    assert told(*held) == (
        "broker 6 is not safe to remove: it holds orders/0, orders/1, orders/2 and 2 more, and leads 4 of them"
    )
    evidence = drained([6, 5], BROKERS, {each.key: each for each in held[:1]}).evidence()
    assert evidence == {"safe_to_remove": [5], "still_held": {"5": [], "6": ["orders/0"]}}


def test_the_topics_that_msk_checks_itself_with_do_not_count_but_then_one_broker_of_each_zone_leaves() -> None:
    canaries = [partition("__amazon_msk_canary", number, number + 1) for number in range(6)]
    canaries.append(partition("__amazon_msk_canary_state", 0, 6, 5, 4))
    assert told(*canaries, leaving=(4, 5, 6)) == "; ".join(f"broker {id_} is safe to remove" for id_ in (4, 5, 6))
    assert told(*canaries, leaving=(5, 6)).endswith(
        "; Amazon MSK takes away as many brokers in each zone, and these are 1 in zone-0, 0 in zone-1, 1 in zone-2"
    )


def test_elsewhere_any_broker_may_leave_alone() -> None:
    assert told(partition("orders", 0, 1, 2), leaving=(5, 6)).count("Amazon") == 0
