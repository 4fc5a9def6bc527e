"""What was approved is done only if it would be decided now, too; and what was drained on purpose is not filled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from redrive.fleets.growth import KIND, Growth
from redrive.partitions.state import Ongoing
from tests.unit.scaling.on_paper import CLUSTER, SCALE, Paper, runs

DAY = 86_400
STALE = "refused: the plan is stale: 4 brokers were to be, and now: "


@pytest.fixture
def shown(town: Paper) -> dict[str, Any]:
    """A plan that a run has shown six days ago, and that is approved now."""
    town.settings(approval="required")
    plan = {"job": "broker-scaling", "cluster": CLUSTER, "before": [1, 2, 3], "target": 4, "moves": {}}
    return plan | {"decided_at": time.time() - 6 * DAY}


def test_what_was_approved_is_done_if_the_load_is_still_high(town: Paper, shown: dict[str, Any]) -> None:
    assert runs(town, shown) == "proved"
    assert town.orders == [4]


def test_it_is_not_done_once_the_load_has_gone(town: Paper, shown: dict[str, Any]) -> None:
    town.cpu = 10
    told = runs(town, shown)
    assert told.startswith(f"{STALE}CPU is not high: 10 %, below 60 %; nothing of it is carried out")
    assert (town.orders, town.growth) == ([], None)


def test_a_load_that_was_measured_just_now_is_not_measured_again(town: Paper, shown: dict[str, Any]) -> None:
    town.cpu = 10  # for a moment
    assert runs(town, shown | {"decided_at": time.time()}, SCALE.model_copy(update={"window": 60.0})) == "proved"


def another_has_grown(town: Paper) -> None:
    growth = Growth.new((1, 2), 3, {})
    town.began("broker-scaling", "another").note(KIND, growth.entry() | {"step": "ended", "brokers": [3]})


def one_is_down(town: Paper) -> None:
    town.scale_by_hand(4)
    town.down = {4}


def one_is_empty(town: Paper) -> None:
    town.filled = {1, 2}


def partitions_move(town: Paper) -> None:
    town.moving = {("orders", 1): Ongoing((2,), (2,), (1,))}


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (another_has_grown, "it has cool-down after the last scaling"),
        (one_is_down, "broker 4 is down: start what is there"),
        (one_is_empty, "broker 3 is there and empty: partitions move there before more are added"),
        (partitions_move, "partitions are on the move (1)"),
    ],
)
@pytest.mark.parametrize("ago", [0, 6 * DAY], ids=["just now", "six days ago"])
def test_it_is_not_done_when_something_has_come_in_the_way(
    town: Paper, shown: dict[str, Any], happens: Callable[[Paper], None], why: str, ago: float
) -> None:
    happens(town)
    told = runs(town, shown | {"decided_at": time.time() - ago}, SCALE.model_copy(update={"window": 60.0}))
    assert told.startswith(STALE)
    assert why in told
    assert town.orders == []


def test_it_is_not_done_when_there_may_be_fewer_by_now(town: Paper, shown: dict[str, Any]) -> None:
    assert "may be 3 at most" in runs(town, shown, SCALE.model_copy(update={"most": 3}))
    assert town.orders == []


def test_a_plan_of_before_it_was_kept_when_it_was_decided_is_measured_again(town: Paper, shown: dict[str, Any]) -> None:
    del shown["decided_at"]
    town.cpu = 10
    assert "CPU is not high" in runs(town, shown)


def test_a_broker_that_is_there_and_empty_is_filled(town: Paper) -> None:
    town.scale_by_hand(4)
    assert runs(town) == "proved"
    assert ([each["brokers"] for each in town.started.values()], town.orders) == ([[4]], [])


def moved(town: Paper, name: str, goal: str, *brokers: int, cluster: str = CLUSTER) -> None:
    parameters = {"goal": goal, "brokers": list(brokers)}
    given: Any = {"cluster": cluster, "resources": [cluster], "who": "x", "parameters": parameters}
    town.ledger.begin("partition-rebalance", "run", operation_id=name, **given).finish("done", "proved")


def test_one_that_was_drained_on_purpose_is_neither_filled_nor_are_more_added(town: Paper) -> None:
    town.scale_by_hand(4)
    moved(town, "a", "drain_brokers", 4)
    told = runs(town)
    assert told.startswith("nothing to add: ")
    assert "broker 4 is there, empty, and drained on purpose: take away what is to go" in told
    assert "--goal add_brokers --broker 4" in told
    assert (town.orders, town.started) == ([], {})


def test_others_that_are_empty_are_filled_all_the_same(town: Paper) -> None:
    town.scale_by_hand(5)
    moved(town, "a", "drain_brokers", 4)
    assert runs(town) == "proved"
    assert [each["brokers"] for each in town.started.values()] == [[5]]


def test_one_that_was_to_be_filled_after_its_drain_is_filled(town: Paper) -> None:
    town.scale_by_hand(4)
    moved(town, "a", "drain_brokers", 4)
    moved(town, "b", "add_brokers", 4)
    moved(town, "c", "drain_brokers", 4, cluster="another")
    assert runs(town) == "proved"
    assert [each["brokers"] for each in town.started.values()] == [[4]]
