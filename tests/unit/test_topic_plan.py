"""What it takes to make a topic what the settings say: a pure function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from redrive.aliases.alias import Alias, Aliases
from redrive.clusters import TopicState
from redrive.config import Topic
from redrive.standby.store import Slot
from redrive.topics import _unless_diverted, _unless_left, plan_topic

WANTED = Topic("orders", "sales", "blue", 6, 3, 6, None, {"retention.ms": "1000", "min.insync.replicas": "2"})


def state(partitions: int = 6, replication: int = 3, **config: str) -> TopicState:
    settings = {"retention.ms": "1000", "min.insync.replicas": "2"} | config
    return TopicState("orders", partitions, replication, config=settings)


def test_a_topic_that_is_as_it_should_be_needs_nothing() -> None:
    assert list(plan_topic(WANTED, state())) == []


def test_a_missing_topic_is_created_with_its_settings() -> None:
    (change,) = plan_topic(WANTED, None)
    assert (change.action, change.detail, change.config) == (
        "create",
        "6 partitions, 3 replicas",
        WANTED.config,
    )


def test_only_the_settings_that_differ_are_set() -> None:
    (change,) = plan_topic(WANTED, state(**{"retention.ms": "5"}))
    assert (change.action, change.detail, change.config) == (
        "configure",
        "retention.ms: 5 → 1000",
        {"retention.ms": "1000"},
    )


def test_a_setting_that_is_not_made_yet_is_made() -> None:
    (change,) = plan_topic(WANTED, TopicState("orders", 6, 3, config={"min.insync.replicas": "2"}))
    assert (change.detail, change.config) == ("retention.ms: default → 1000", {"retention.ms": "1000"})


def test_partitions_are_added_only_if_that_is_asked_for() -> None:
    (left,) = plan_topic(WANTED, state(partitions=3))
    (added,) = plan_topic(WANTED, state(partitions=3), add_partitions=True)
    assert (left.action, added.action) == ("leave", "add partitions")
    assert "lose their order" in left.detail


@pytest.mark.parametrize("add_partitions", [False, True])
@pytest.mark.parametrize(
    ("present", "detail"),
    [
        (state(partitions=12), "has 12 partitions, not 6: Kafka cannot take any away"),
        (state(replication=1), "has 1 replicas, not 3: that is for a partition rebalance"),
        (state(**{"cleanup.policy": "compact"}), "set on the topic, but not in the settings: cleanup.policy = compact"),
    ],
    ids=["too many partitions", "other replication", "set by hand"],
)
def test_what_is_not_for_this_command_to_change_is_shown_and_left(
    present: TopicState, detail: str, add_partitions: bool
) -> None:
    (change,) = plan_topic(WANTED, present, add_partitions=add_partitions)
    assert (change.action, change.detail) == ("leave", detail)


def test_a_topic_that_producers_have_left_is_not_created_anew_once_it_was_deleted() -> None:
    (missing,) = plan_topic(WANTED, None)
    left = _unless_left(missing, Aliases({"orders": Alias("orders", "orders.v2", "orders.v2", 1, 1, "{}")}, {}))
    assert (left.action, left.detail) == (
        "leave", "is gone, and not created: what is published by that name goes to orders.v2",
    )  # fmt: skip
    back = Aliases({"orders": Alias("orders", "orders.v2", "orders", 2, 1, "{}")}, {})
    assert _unless_left(missing, back) == missing
    (differs,) = plan_topic(WANTED, state(**{"retention.ms": "5"}))
    assert _unless_left(differs, Aliases({"orders": Alias("orders", "v2", "v2", 1, 1, "{}")}, {})) == differs


class Lanes:
    """A standby table with one topic of two lanes, of which one may be diverted."""

    def __init__(self, diverted: bool) -> None:
        self.diverted = diverted

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        return iter([(1, Slot("topic", "t", epoch=2, producer="orders"))] if after < 1 else [])

    def last(self, pk: str) -> tuple[int, Slot] | None:
        return (1, Slot("divert", "t", epoch=1, producer="shop-1")) if self.diverted and pk.endswith("|1") else None


@pytest.mark.parametrize("diverted", [False, True])
def test_no_partitions_are_added_while_events_of_the_topic_wait_in_the_standby_store(diverted: bool) -> None:
    """Events in doubt are in the partition that their key has had; it would have another one."""
    (added,) = plan_topic(WANTED, state(partitions=3), add_partitions=True)
    store: Any = Lanes(diverted)
    assert _unless_diverted(added, store).outcome == ("failed" if diverted else "planned")
    if diverted:
        assert "1 of its 2 lanes" in _unless_diverted(added, store).reason
