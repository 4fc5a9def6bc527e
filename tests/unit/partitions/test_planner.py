"""The planner by examples: what moves, what does not, and what a plan says of itself."""

from __future__ import annotations

from collections import Counter

import pytest

from redrive.errors import GoalError
from redrive.partitions.layout import Broker, Layout, Partition
from redrive.partitions.planner import Figures, Goal, Plan, bringing_in, plan


def brokers(*racks: str | None, capacity: int | None = None) -> tuple[Broker, ...]:
    return tuple(Broker(i, rack, capacity) for i, rack in enumerate(racks))


def topic(*replicas: tuple[int, ...], size: int = 100, name: str = "t") -> tuple[Partition, ...]:
    return tuple(Partition(name, number, held, size) for number, held in enumerate(replicas))


def held(made: Plan, what: str = "bytes") -> list[int]:
    return [getattr(figures, what) for figures in made.after]


def moved(made: Plan) -> dict[str, tuple[int, ...]]:
    return {f"{move.topic}-{move.number}": move.after for move in made.moves if move.added}


def test_a_balanced_cluster_is_left_as_it_is():
    layout = Layout(brokers(None, None), topic((0, 1), (1, 0)))
    made = plan(layout, Goal("balance"))
    assert (made.moves, made.bytes, made.least_bytes, made.ratio, made.findings) == ((), 0, 0, 1.0, ())


def test_a_cluster_without_partitions_needs_no_moves():
    assert plan(Layout(brokers("a", "b"), ()), Goal("balance")).moves == ()


def test_no_more_is_moved_than_it_takes():
    made = plan(Layout(brokers(None, None), topic((0,), (0,), (0,), (0,), (1,), (1,))), Goal("balance"))
    assert held(made) == [300, 300]
    assert made.bytes == made.least_bytes + 15 == 100  # of 100, the band lets 15 be where they are


def test_a_new_broker_gets_its_share_and_old_ones_take_nothing():
    layout = Layout(brokers(None, None, None), topic(*[(0,)] * 8, *[(1,)] * 4))
    made = plan(layout, Goal("add_brokers", brokers=frozenset({2})))
    assert held(made) == [400, 400, 400]
    assert all(move.added == (2,) for move in made.moves if move.bytes)


def test_replicas_stay_in_their_racks_where_each_rack_has_one():
    layout = Layout(brokers("a", "b", "a", "b"), topic(*[(0, 1)] * 10))
    made = plan(layout, Goal("balance"))
    assert held(made) == [500] * 4
    assert all({broker % 2 for broker in move.after} == {0, 1} for move in made.moves)


def test_racks_with_unequal_brokers_get_targets_of_their_own():
    layout = Layout(brokers("a", "b", "b"), topic(*[(0, 1)] * 10))
    made = plan(layout, Goal("balance"))
    assert made.targets == {0: 1000, 1: 500, 2: 500}
    assert held(made) == [1000, 500, 500]
    assert made.findings[0].startswith("The racks can't hold the same per broker")


def test_single_replicas_go_to_any_rack():
    made = plan(Layout(brokers("a", "b", "c"), topic(*[(0,)] * 9)), Goal("balance"))
    assert held(made) == [300, 300, 300]


def test_more_replicas_than_racks_are_spread_as_evenly_as_can_be():
    layout = Layout(brokers("a", "a", "a", "b", "b"), topic((0, 1, 2), (0, 1, 3)))
    made = plan(layout, Goal("balance", band=0.5))
    assert made.mended == 1
    ((_, after),) = moved(made).items()
    assert len({0, 1, 2}.intersection(after)) == 2


def test_racks_are_mended_and_that_is_counted():
    layout = Layout(brokers("a", "a", "b", "b"), topic((0, 1), (2, 3), (0, 2)))
    made = plan(layout, Goal("balance"))
    assert made.mended == 2
    assert made.least_bytes == 200
    assert all(len({broker // 2 for broker in after}) == 2 for after in moved(made).values())


def test_racks_do_not_count_if_a_broker_names_none():
    layout = Layout(brokers("a", "a", None), topic((0, 1)))
    made = plan(layout, Goal("balance"))
    assert not made.moves or not made.mended
    assert "name no rack" in made.findings[0]


def test_a_drained_broker_keeps_nothing_but_what_msk_keeps_there():
    canary = Partition("__amazon_msk_canary", 0, (0,), 1)
    layout = Layout(brokers(None, None, None), (canary, *topic(*[(0, 1)] * 6, *[(1, 2)] * 2)))
    made = plan(layout, Goal("drain_brokers", brokers=frozenset({0})))
    assert made.after[0] == Figures(0, bytes=1, replicas=1, leaders=1)
    assert made.bytes == made.least_bytes == 600


def test_others_give_nothing_when_a_broker_is_drained():
    layout = Layout(brokers(None, None, None), topic((0,), *[(1,)] * 9))
    made = plan(layout, Goal("drain_brokers", brokers=frozenset({0})))
    assert moved(made) == {"t-0": (2,)}


def test_a_drained_rack_goes_to_the_others():
    layout = Layout(brokers("a", "b", "c", "a"), topic(*[(0, 1, 2)] * 4))
    made = plan(layout, Goal("drain_brokers", brokers=frozenset({2})))
    assert held(made) == [400, 400, 0, 400]


def test_what_can_not_leave_a_drained_broker_is_named():
    layout = Layout((Broker(0), Broker(1, capacity=150), Broker(2, capacity=10)), topic((0,), (0,)))
    made = plan(layout, Goal("drain_brokers", brokers=frozenset({0})))
    assert held(made) == [100, 100, 0]
    assert made.findings[0].startswith("t-1 can't leave")


def test_excluded_brokers_and_topics_stay_as_they_are_and_count_as_load():
    layout = Layout(
        brokers(None, None, None, None), (*topic(*[(0,)] * 4, name="fixed"), *topic(*[(1,)] * 8, *[(3,)] * 9))
    )
    made = plan(layout, Goal("balance", excluded_topics=frozenset({"fixed"}), excluded_brokers=frozenset({3})))
    assert held(made) == [400, 400, 400, 900]


def test_a_disk_limit_is_kept_and_named():
    layout = Layout((Broker(0), Broker(1), Broker(2, capacity=1000)), topic(*[(0,)] * 20, *[(1,)] * 20))
    made = plan(layout, Goal("add_brokers", brokers=frozenset({2}), disk_limit=0.5))
    assert held(made) == [1700, 1800, 500] or held(made) == [1800, 1700, 500]
    assert any("disk limit" in finding for finding in made.findings)


def test_a_partition_larger_than_the_band_does_not_spoil_it_for_the_others():
    giant = Partition("giant", 0, (0,), 5000)
    layout = Layout(brokers(None, None, None), (giant, *topic(*[(0,)] * 10, *[(1,)] * 10)))
    made = plan(layout, Goal("balance"))
    assert held(made) == [5000, 1000, 1000]
    assert made.findings[0].startswith("broker 0: giant-0 has 5,000 bytes, more than")


def test_of_a_broker_that_no_size_brings_into_its_band_just_that_is_said():
    made = plan(Layout(brokers(None, None), topic((0,), (0,), (1,))), Goal("balance"))
    assert held(made) == [200, 100]
    assert made.findings[0].endswith(
        "outside the band of 5.0%: no single move, and no exchange of two replicas, has a size that fits both brokers."
    )


ON_BOTH = Layout(brokers(None, None), (*topic((0, 1), size=50), *topic((0,), size=100, name="on-one")))
"""What would have the right size is on both brokers already."""


def test_of_one_whose_sizes_fit_it_is_said_how_many_the_rules_forbid():
    made = plan(ON_BOTH, Goal("balance"))
    assert held(made) == [150, 50]
    assert made.findings[0].endswith(
        "of single moves and exchanges of two replicas all were tried: 1 and 1 have a size that fits both brokers, and "
        "the rules on brokers, racks and disks forbid each."
    )


def test_where_there_are_too_many_to_try_it_is_said_that_not_all_were(monkeypatch: pytest.MonkeyPatch):
    for most, tried in ((1, "1 and 0"), (0, "0 and 0")):
        monkeypatch.setattr(bringing_in, "MOST", most)
        made = plan(ON_BOTH, Goal("balance"))
        assert f"not all, as there are too many, were tried: {tried} have a size that fits" in made.findings[0]


def test_partitions_without_bytes_are_spread_by_number():
    made = plan(Layout(brokers("a", "b", "a", "b"), topic(*[(0, 1)] * 12, size=0)), Goal("balance"))
    assert held(made, "replicas") == [6, 6, 6, 6]
    assert made.bytes == 0


def test_a_topic_that_is_all_on_one_broker_is_spread_by_the_bytes_that_move_anyway():
    hot = topic(*[(0,)] * 8, name="hot")
    cold = topic(*[(0,)] * 8, *[(1,)] * 8, name="cold")
    made = plan(Layout(brokers(None, None, None), (*hot, *cold)), Goal("balance"))
    after = Counter(broker for name, (broker,) in moved(made).items() if name.startswith("hot"))
    assert held(made) == [800, 800, 800]
    assert 8 - sum(after.values()) <= 3


def test_leaders_are_evened_out_by_order_alone():
    layout = Layout(brokers(None, None, None), topic(*[(0, 1, 2)] * 9))
    made = plan(layout, Goal("leaders"))
    assert held(made, "leaders") == [3, 3, 3]
    assert made.bytes == 0
    assert len(made.moves) == 6


def test_only_as_many_leaders_change_as_must():
    layout = Layout(brokers(None, None), topic((0, 1), (0, 1), (0, 1), (1, 0)))
    made = plan(layout, Goal("leaders"))
    assert len(made.moves) == 1


def test_that_leaders_can_not_be_even_is_proved():
    layout = Layout(brokers(None, None, None), topic(*[(0, 1)] * 9))
    made = plan(layout, Goal("leaders"))
    assert made.findings == (
        "Leaders can't be even: 9 partitions can be led by brokers 0, 1 alone; 3.0 would be a broker's share.",
        "Leaders can't be even: broker 2 can lead 0 partitions at most; 3.0 would be a broker's share.",
    )
    assert sorted(held(made, "leaders")) == [0, 4, 5]


def test_leaders_that_can_not_be_even_are_as_even_as_can_be():
    made = plan(Layout(brokers(None, None, None), topic(*[(0, 1)] * 60)), Goal("leaders"))
    assert held(made, "leaders") == [30, 30, 0]


def test_replicas_without_bytes_leave_a_drained_broker_by_number():
    made = plan(
        Layout(brokers(None, None, None), topic(*[(0,)] * 9, *[(1,)] * 3, size=0)),
        Goal("drain_brokers", brokers=frozenset({0})),
    )
    assert held(made, "replicas") == [0, 6, 6]


def test_a_higher_replication_factor_adds_what_is_lacking_on_other_racks():
    layout = Layout(brokers("a", "b", "c", "c"), topic((0,), (0, 1), (0, 1, 2)))
    made = plan(layout, Goal("replication_factor", replication=3))
    assert made.bytes == made.least_bytes == 300
    assert all(len({"abcc"[broker] for broker in move.after}) == 3 for move in made.moves)
    assert all(move.after[: len(move.before)] == move.before for move in made.moves)


def test_a_lower_replication_factor_takes_from_the_fullest_and_keeps_the_racks():
    layout = Layout(brokers("a", "a", "b"), topic((0, 1, 2), (1,), (1,)))
    made = plan(layout, Goal("replication_factor", replication=2))
    assert {move.number: move.after for move in made.moves if move.removed} == {0: (0, 2)}


def test_a_broker_that_is_gone_is_left_alone_and_named():
    layout = Layout(brokers(None, None), topic((0, 7), (0, 7), (0, 7)))
    made = plan(layout, Goal("balance"))
    assert all(7 in move.after for move in made.moves)
    assert made.findings[0].startswith("broker 7: down, yet with replicas")


def test_the_digest_is_of_the_moves_and_the_replicas_but_not_of_sizes():
    layout = Layout(brokers(None, None, None), topic((0, 1), (0, 1)))
    grown = Layout(layout.brokers, topic((0, 1), (0, 1), size=101))
    other = Layout(layout.brokers, topic((0, 1), (1, 0)))
    digests = [plan(each, Goal("leaders")).digest for each in (layout, grown, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (
            Goal("drain_brokers", brokers=frozenset({9})),
            "brokers: 9 is not among the cluster's brokers that are up, 0, 1, 2",
        ),
        (Goal("drain_brokers", brokers=frozenset({0, 1, 2})), "leaves no broker that may take anything"),
        (Goal("drain_brokers", brokers=frozenset({0, 1})), "t-0 needs 2 brokers for its replicas and only 1 may hold"),
        (Goal("drain_brokers"), "goal drain_brokers needs at least one"),
        (Goal("balance", brokers=frozenset({0})), "goal balance takes none"),
        (Goal("balance", excluded_brokers=frozenset({9})), "excluded_brokers: 9 is not among"),
        (Goal("balance", excluded_topics=frozenset({"x"})), "excluded_topics: x is no topic of the cluster"),
        (
            Goal("add_brokers", brokers=frozenset({0}), excluded_brokers=frozenset({0})),
            "brokers: 0 is excluded as well",
        ),
        (Goal("replication_factor", replication=4), "replication: t-0 needs 4 brokers"),
        (Goal("replication_factor", replication=0), "replication: 0 is below 1"),
        (Goal("replication_factor"), "replication: is for goal replication_factor, which needs it"),
        (Goal("balance", band=5), "band: 5 is not a fraction"),
        (Goal("balance", disk_limit=0), "disk_limit: 0 is not a fraction"),
        (Goal("best"), "goal: there is no 'best'; there are balance, add_brokers"),  # type: ignore[arg-type]
    ],
)
def test_a_goal_that_no_plan_can_reach_is_refused_by_name(goal: Goal, message: str):
    with pytest.raises(GoalError) as caught:
        plan(Layout(brokers(None, None, None), topic((0, 1), (1, 2))), goal)
    assert message in str(caught.value)


@pytest.mark.parametrize("racks", [(None,) * 4, ("a", "b", "c", "c")])
def test_a_broker_that_is_down_can_be_drained_and_nothing_comes_to_it(racks: tuple[str | None, ...]):
    layout = Layout(brokers(*racks), topic(*[(0, 1, 4)] * 6, *[(1, 0, 2)] * 6))
    made = plan(layout, Goal("drain_brokers", brokers=frozenset({4})))
    after = [move.after for move in made.moves if move.added]
    assert len(after) == 6
    assert all(4 not in held and {0, 1} < set(held) for held in after)
    assert made.bytes == made.least_bytes == 600
    assert made.findings == ()


def test_a_broker_that_nothing_is_known_of_is_not_drained():
    with pytest.raises(GoalError, match="9 is not among"):
        plan(Layout(brokers(None, None), topic((0, 4))), Goal("drain_brokers", brokers=frozenset({9})))
