"""Each scenario under every schedule within its bounds: nothing acknowledged is lost, doubled or out of order."""

from __future__ import annotations

import os

import pytest

from tests.explorer.explore import exhaust, schedule, walk
from tests.explorer.scenario import Scenario
from tests.explorer.scenarios import BY_NAME, REQUEST_LANDS_LATE, SCENARIOS

LONG = os.environ.get("REDRIVE_EXPLORE") == "long"

SEED = int(os.environ.get("REDRIVE_SEED", "1"))

minutes_long = pytest.mark.skipif(not LONG, reason="minutes long: REDRIVE_EXPLORE=long")

named = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@named
def test_every_schedule_with_one_deviation_keeps_the_promise(scenario: Scenario) -> None:
    report = exhaust(scenario, 1)
    print(report)
    assert report.found is None, str(report.found)
    assert report.complete


@named
def test_random_schedules_keep_the_promise(scenario: Scenario) -> None:
    report = walk(scenario, SEED, runs=5_000 if LONG else 60, rate=0.06)
    print(report)
    assert report.found is None, str(report.found)


@pytest.mark.parametrize("name", ["one producer through an outage and back", "a commit is not confirmed"])
def test_every_schedule_with_two_deviations_keeps_the_promise(name: str) -> None:
    report = exhaust(BY_NAME[name], 2)
    print(report)
    assert report.found is None, str(report.found)
    assert report.complete


@minutes_long
@pytest.mark.timeout(900)
@named
def test_every_schedule_with_two_deviations_keeps_the_promise_in_every_scenario(scenario: Scenario) -> None:
    report = exhaust(scenario, 2, seconds=600)
    print(report)
    assert report.found is None, str(report.found)


@minutes_long
@pytest.mark.timeout(900)
@named
def test_whoever_goes_on_after_a_wait_the_promise_is_kept(scenario: Scenario) -> None:
    report = exhaust(scenario, 1, seconds=120, free_switch=True)
    print(report)
    assert report.found is None, str(report.found)


def test_a_request_that_lands_after_the_look_up_is_the_only_way_to_a_duplicate() -> None:
    """What the guarantee leaves open, and no more than that: see the docstring of the scenario."""
    found = exhaust(REQUEST_LANDS_LATE, 1).found
    assert found is not None
    assert found.reason.startswith("twice: ")
    assert any("lands" in line and "given up" in line for line in schedule(found.scenario, found.picks))
    without = Scenario(REQUEST_LANDS_LATE.name, REQUEST_LANDS_LATE.producers, limits={"nap": 1})
    assert exhaust(without, 1).found is None


@pytest.mark.parametrize(
    "name",
    [
        "the table does not answer, or its answers are lost",
        pytest.param("a divert is learned of from the gate, with events in flight", marks=minutes_long),
        pytest.param("threads of one producer", marks=minutes_long),
    ],
)
def test_passing_over_states_that_were_seen_before_misses_no_outcome(name: str) -> None:
    assert exhaust(BY_NAME[name], 1).outcomes == exhaust(BY_NAME[name], 1, prune=False).outcomes


def test_a_run_is_a_function_of_its_choices() -> None:
    picks = {12: 1, 40: 2, 61: 1}
    scenario = BY_NAME["threads of two producers"]
    assert schedule(scenario, picks) == schedule(scenario, picks)
