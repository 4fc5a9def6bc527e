"""Whether a broker that was drained may be taken away."""

from __future__ import annotations

from redrive.partitions.removal import Drained, drained
from redrive.partitions.state import BrokerState, PartitionState

VOTERS = {1, 2, 3}
BROKERS = [BrokerState(id_, f"zone-{id_ % 3}", up=True) for id_ in range(1, 7)]


def partition(topic: str, number: int, *replicas: int, leader: int | None = None) -> PartitionState:
    return PartitionState(topic, number, replicas, leader or replicas[0], frozenset(replicas))


def look(*partitions: PartitionState, leaving: tuple[int, ...] = (6,), voters: set[int] | None = VOTERS) -> Drained:
    return drained(leaving, BROKERS, {each.key: each for each in partitions}, voters)


def told(*partitions: PartitionState, leaving: tuple[int, ...] = (6,)) -> str:
    return str(look(*partitions, leaving=leaving))


def test_a_broker_that_holds_nothing_is_safe_to_remove() -> None:
    assert told(partition("orders", 0, 1, 2)) == "broker 6 is safe to remove"


def test_a_broker_that_holds_something_is_not_and_what_it_holds_is_named() -> None:
    held = [partition("orders", number, 1, 6, leader=6 if number else 1) for number in range(5)]
    assert told(*held) == (
        "broker 6 is not safe to remove: it holds orders/0, orders/1, orders/2 and 2 more, and leads 4 of them"
    )
    evidence = look(*held[:1], leaving=(6, 5)).evidence()
    assert evidence == {"safe_to_remove": [5], "still_held": {"5": [], "6": ["orders/0"]}}


def test_the_topics_that_msk_checks_itself_with_do_not_count_but_then_one_broker_of_each_zone_leaves() -> None:
    canaries = [partition("__amazon_msk_canary", number, number + 1) for number in range(6)]
    canaries.append(partition("__amazon_msk_canary_state", 0, 6, 5, 4))
    assert told(*canaries, leaving=(4, 5, 6)) == "; ".join(f"broker {id_} is safe to remove" for id_ in (4, 5, 6))
    together = (
        "Amazon MSK takes away as many brokers in each zone, and these are 1 in zone-0, 0 in zone-1, 1 in zone-2: "
        "drain as many in each, in one run, with those that are empty already"
    )
    assert told(*canaries, leaving=(5, 6)) == f"broker 5 is empty; broker 6 is empty; {together}"
    evidence = look(*canaries, leaving=(5, 6)).evidence()
    assert evidence == {"safe_to_remove": [], "still_held": {"5": [], "6": []}, "not_together": together}


def test_elsewhere_any_broker_may_leave_alone() -> None:
    assert told(partition("orders", 0, 1, 2), leaving=(5, 6)).count("Amazon") == 0


def test_a_broker_that_votes_among_the_controllers_is_not_safe_to_remove_though_it_is_empty() -> None:
    found = look(partition("orders", 0, 1, 2), leaving=(3, 6))
    assert str(found) == (
        "broker 3 is not safe to remove: it is a controller as well, with a vote in the quorum: take that from it "
        "first; broker 6 is safe to remove"
    )
    assert found.evidence() == {"safe_to_remove": [6], "still_held": {"3": [], "6": []}, "controllers": [3]}


def test_it_is_told_that_a_cluster_does_not_say_which_brokers_vote() -> None:
    found = look(partition("orders", 0, 1, 2), voters=None)
    assert (
        str(found) == "broker 6 is safe to remove, unless it is a controller as well, which the cluster does not tell"
    )
    assert found.safe == [6]
