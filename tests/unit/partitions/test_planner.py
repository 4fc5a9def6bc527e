"""Plans of partitions, by example."""

from __future__ import annotations

import json
import random

import pytest

from redrive.errors import GoalError
from redrive.partitions.layout import Broker, Layout, Move, Partition, reassignment_json
from redrive.partitions.planner import Goal, Plan, plan

MB = 1_000_000


def cluster(brokers: int, *partitions: tuple[tuple[int, ...], int], racks: int = 0, topic: str = "orders") -> Layout:
    """Brokers 1, 2, 3, …, in so many racks; partitions with their replicas and MB."""
    return Layout(
        tuple(Broker(at, f"az{at % racks}" if racks else None) for at in range(1, brokers + 1)),
        tuple(Partition(topic, at, replicas, size * MB) for at, (replicas, size) in enumerate(partitions)),
    )


def sizes(made: Plan) -> dict[int, float]:
    return {each.broker: each.size[1] / MB for each in made.brokers}


def test_a_balanced_cluster_stays_as_it_is() -> None:
    made = plan(cluster(3, ((1, 2), 10), ((2, 3), 10), ((3, 1), 10)), Goal("balance"))
    assert (made.moves, made.bytes, made.least, made.findings) == ((), 0, 0, ())


def test_a_new_broker_gets_its_share_and_no_byte_more_than_it_lacks() -> None:
    layout = cluster(4, *[((1, 2, 3), 10)] * 40)
    made = plan(layout, Goal("add_brokers"))
    assert made.goal.new_brokers(layout) == {4}
    assert {broker for move in made.moves for broker in move.added} == {4}
    assert made.least <= made.bytes <= made.least + 10 * MB
    assert all(285 <= size <= 315 for size in sizes(made).values())
    assert not made.findings


def test_replicas_stay_spread_over_racks_when_a_rack_gets_a_broker() -> None:
    layout = cluster(7, *[((1, 2, 3), 10), ((4, 5, 6), 10)] * 30, racks=3)
    made = plan(layout, Goal("add_brokers", frozenset({7})))
    racks = {broker.id: broker.rack for broker in layout.brokers}
    assert made.moves
    assert all(len({racks[broker] for broker in move.after}) == 3 for move in made.moves)
    # Its rack has three brokers now, and the others two: each rack has one replica of everything.
    assert sizes(made)[7] == pytest.approx(200, rel=0.06)


def test_replicas_in_one_rack_are_spread() -> None:
    made = plan(cluster(4, ((1, 3), 10), racks=2), Goal("balance", band=0.9))
    (move,) = made.moves
    assert len({broker % 2 for broker in move.after}) == 2
    assert made.bytes == 10 * MB


def test_a_drained_broker_is_empty_and_leads_nothing_afterwards() -> None:
    made = plan(cluster(4, *[((4, 1), 5), ((2, 4), 7), ((3, 1), 6)] * 5), Goal("drain_brokers", frozenset({4})))
    of_drained = next(each for each in made.brokers if each.broker == 4)
    assert (of_drained.size[1], of_drained.replicas[1], of_drained.leaders[1]) == (0, 0, 0)
    assert made.bytes == made.least == 5 * (5 + 7) * MB


def test_topics_that_msk_keeps_on_each_broker_need_not_leave() -> None:
    own = cluster(3, ((3,), 1), topic="__amazon_msk_canary")
    assert plan(own, Goal("drain_brokers", frozenset({3}))).moves == ()


def test_leaders_alone_are_balanced_without_a_byte() -> None:
    made = plan(cluster(3, *[((1, 2, 3), 10)] * 9), Goal("leaders"))
    assert {each.broker: each.leaders for each in made.brokers} == {1: (9, 3), 2: (0, 3), 3: (0, 3)}
    assert (len(made.moves), made.order_changes, made.bytes) == (6, 6, 0)


def test_leaders_that_can_not_be_spread_are_proved_to_be_so() -> None:
    made = plan(cluster(4, *[((1, 2), 1)] * 10, ((3, 4), 1)), Goal("leaders"))
    assert made.findings == (
        "leaders can't be spread more evenly: 10 partitions have replicas on broker 1, 2 only, which so lead 5.0 each",
    )


def test_more_replicas_go_to_other_racks_and_fewer_leave_the_fullest_brokers() -> None:
    more = plan(cluster(4, ((1, 3), 10), racks=2), Goal("replication_factor", replication=3))
    assert set(more.moves[0].after) - {1, 3} <= {2, 4}
    fewer = plan(cluster(3, ((1, 2, 3), 10), ((2, 1), 5)), Goal("replication_factor", replication=2))
    assert [move.removed for move in fewer.moves if move.removed] == [(2,)]
    assert fewer.bytes == 0


def test_what_is_excluded_stays() -> None:
    layout = cluster(3, *[((1,), 10)] * 6)
    assert plan(layout, Goal("balance", excluded_topics=frozenset({"orders"}))).moves == ()
    made = plan(layout, Goal("balance", excluded_brokers=frozenset({3})))
    assert sizes(made) == {1: 30, 2: 30, 3: 0}


def test_a_disk_is_not_filled_beyond_its_limit() -> None:
    layout = cluster(2, *[((1,), 10)] * 10)
    small = Layout((layout.brokers[0], Broker(2, None, 40 * MB)), layout.partitions)
    made = plan(small, Goal("balance", disk=0.5))
    assert sizes(made) == {1: 80, 2: 20}
    assert (
        "broker 2 has 20,000,000 bytes, 60.0% less than it should: its disk may be filled to 50% only" in made.findings
    )


def test_a_partition_that_is_too_large_for_the_band_is_told() -> None:
    made = plan(cluster(2, ((1,), 100), ((1,), 10)), Goal("balance"))
    assert sizes(made) == {1: 100, 2: 10}
    assert any("smallest partition that could leave has" in finding for finding in made.findings)


def test_empty_partitions_are_spread_by_number() -> None:
    made = plan(cluster(4, *[((1,), 0)] * 8), Goal("balance"))
    assert {each.replicas[1] for each in made.brokers} == {2}


def test_a_hot_topic_is_spread_when_others_could_move_as_well() -> None:
    calm = [Partition("calm", at, (1,), 10 * MB) for at in range(20)]
    hot = [Partition("hot", at, (2,), 10 * MB) for at in range(20)]
    made = plan(Layout((Broker(1), Broker(2), Broker(3)), (*calm, *hot)), Goal("balance"))
    moved = [move.topic for move in made.moves]
    assert abs(moved.count("hot") - moved.count("calm")) <= 2


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        (Goal("drain_brokers"), "brokers: name those that are to be drained"),
        (Goal("drain_brokers", frozenset({9})), "brokers: there is no broker 9; there are 1, 2, 3"),
        (Goal("drain_brokers", frozenset({1, 2})), "brokers: orders/0 has 2 replicas, and without broker 1, 2 there"),
        (Goal("add_brokers"), "brokers: name the new ones: there is no broker without replicas"),
        (Goal("balance", frozenset({1})), "brokers: mean nothing for balance; to leave some alone, exclude them"),
        (Goal("balance", band=0), "band: must be between 0 and 1; it is 0"),
        (Goal("replication_factor"), "replication: goes with replication_factor, and only with it"),
        (Goal("replication_factor", replication=4), "replication: must be 1 to 3, as many as there are brokers"),
        (
            Goal("drain_brokers", frozenset({1}), excluded_brokers=frozenset({1})),
            "excluded_brokers: broker 1 can't be left alone and drained",
        ),
    ],
)
def test_a_goal_that_makes_no_sense_is_refused_with_the_way_out(goal: Goal, told: str) -> None:
    with pytest.raises(GoalError) as error:
        plan(cluster(3, ((1, 2), 1), ((2, 3), 1)), goal)
    assert str(error.value).startswith(told)


def test_moves_are_written_as_kafkas_own_tool_reads_them() -> None:
    written = json.loads(reassignment_json([Move("orders", 3, (1, 2), (4, 2), 7)]))
    assert written == {"version": 1, "partitions": [{"topic": "orders", "partition": 3, "replicas": [4, 2]}]}


def test_a_large_cluster_comes_within_a_hundredth_of_the_least_bytes() -> None:
    chance = random.Random(3)
    brokers = tuple(Broker(at, f"az{at % 3}") for at in range(12))
    partitions = []
    for at in range(3_000):
        replicas = tuple(chance.choice(range(rack, 9, 3)) for rack in chance.sample(range(3), 3))
        partitions.append(Partition(f"t{at % 50}", at // 50, replicas, int(chance.lognormvariate(17, 1.5))))
    made = plan(Layout(brokers, tuple(partitions)), Goal("add_brokers", band=0.005))
    assert made.least <= made.bytes <= 1.01 * made.least
    assert all(abs(each.size[1] / each.target - 1) <= 0.005 for each in made.brokers)
    leaders, replicas = zip(*((each.leaders[1], each.replicas[1]) for each in made.brokers), strict=True)
    assert max(leaders) - min(leaders) <= 1
    assert max(replicas) <= 1.1 * min(replicas)
