"""Whether a cluster gets more brokers, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redrive.fleets import Sample, Shape
from redrive.fleets.decision import Decision, Situation, Terms, decide

NOW = 10_000.0
TERMS = Terms(threshold=60, window=600, step=1, most=12, cool_down=3_600)
THREE = Situation(frozenset({1, 2, 3}), frozenset(), frozenset(), 0, Shape(), None)


def load(*percents: float | tuple[float, float, float]) -> list[Sample]:
    """One sample a minute up to now; one figure: of each of three brokers."""
    begun = NOW - 60 * len(percents)
    each = [percent if isinstance(percent, tuple) else (percent,) * 3 for percent in percents]
    return [Sample(begun + 60 * at, dict(zip((1, 2, 3), loads, strict=True))) for at, loads in enumerate(each)]


def decided(samples: list[Sample], situation: Situation = THREE, terms: Terms = TERMS) -> Decision:
    return decide(samples, 60, situation, terms, NOW)


HIGH = load(*[75] * 10)


def test_load_that_is_high_for_the_whole_time_adds_a_broker() -> None:
    made = decided(HIGH)
    assert (made.answer, made.target, made.high) == ("add", 4, True)
    assert made.why == "CPU is not below 60 % for 600 s, and 75 % now: from 3 to 4 brokers"


def test_the_threshold_itself_is_high() -> None:
    assert decided(load(*[60] * 10)).answer == "add"


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (load(*[59.4] * 10), "CPU is not high: 59 %, below 60 %"),
        (load(*[75] * 9, 50), "CPU is not high: 50 %, below 60 %"),
        (load(*[75] * 5, 50, *[75] * 4), "CPU is 75 %, not below 60 %, but only for 240 of 600 s"),
        (load(*[75] * 4), "CPU is 75 %, not below 60 %, but only for 240 of 600 s"),
        (
            load(*[(90, 20, 20)] * 10),
            "CPU of all brokers together is 43 %, below 60 %, though broker 1 is at 90 %: balance them "
            "(partition-rebalance) instead of adding any",
        ),
        ([], "the load is not known: there is none; see that the fleet tells it for every broker"),
        (
            [Sample(NOW - 60 * at, {1: 90, 2: 90}) for at in range(10, 0, -1)],
            "the load is not known: broker 3 is not in it; see that the fleet tells it for every broker",
        ),
    ],
)
def test_load_that_is_not_high_or_not_for_long_enough_or_not_known_adds_nothing(
    samples: list[Sample], why: str
) -> None:
    made = decided(samples)
    assert (made.answer, made.high, made.target, made.why) == ("leave", False, 3, why)


def test_a_moment_of_which_a_broker_says_nothing_counts_for_nothing() -> None:
    samples = list(HIGH)
    samples[4] = Sample(samples[4].at, {1: 10})
    assert decided(samples).answer == "add"
    # Neither do two moments far apart stand for the time between them.
    assert "but not known for 540 of 600 s" in decided([HIGH[0], HIGH[-1]]).why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"brokers": frozenset({1, 2}), "down": frozenset({3})},
            "broker 3 is down: start what is there before anything is added",
        ),
        (
            {"shape": Shape(3, 3, "the MSK cluster sales is UPDATING")},
            "the MSK cluster sales is UPDATING: nothing can be added until that is over",
        ),
        (
            {"shape": Shape(4)},  # of a cluster that does not name those that are down
            "the fleet has 4 brokers, of which 1 don't serve: start those before any is added",
        ),
        ({"moving": 1_200}, "partitions are on the move (1,200), which takes CPU, too: wait for that"),
        ({"scaled_at": NOW - 600}, "it has cool-down after the last scaling, for 3,000 s more"),
    ],
)
def test_high_load_adds_nothing_while_something_is_in_the_way_and_says_what(
    change: dict[str, object], why: str
) -> None:
    made = decided(HIGH, replace(THREE, **change))  # type: ignore[arg-type]
    assert (made.answer, made.high) == ("leave", True)
    assert made.why == f"CPU is not below 60 % for 600 s, and 75 % now; {why}"


@pytest.mark.parametrize(("multiple", "most"), [(1, "3 at most"), (2, "3 at most, 2 at a time")])
def test_high_load_adds_nothing_above_the_most_that_there_may_be(multiple: int, most: str) -> None:
    made = decided(HIGH, replace(THREE, shape=Shape(3, multiple)), replace(TERMS, most=3))
    assert made.answer == "leave"
    assert made.why.endswith(f"; there are 3 brokers, and may be {most}: allow more, or larger ones")


def test_after_the_cool_down_it_adds_again() -> None:
    assert decided(HIGH, replace(THREE, scaled_at=NOW - 3_600)).answer == "add"


@pytest.mark.parametrize(("step", "most", "target"), [(1, 12, 6), (3, 12, 6), (4, 12, 9), (9, 10, 9)])
def test_brokers_are_added_in_multiples_of_the_zones_and_never_above_the_most(
    step: int, most: int, target: int
) -> None:
    made = decided(HIGH, replace(THREE, shape=Shape(3, multiple=3)), replace(TERMS, step=step, most=most))
    assert (made.answer, made.target) == ("add", target)
    assert made.why.endswith(f"from 3 to {target} brokers, as a multiple of 3")


def test_a_broker_that_is_there_and_empty_gets_partitions_before_another_one_is_added() -> None:
    four = replace(THREE, brokers=frozenset({1, 2, 3, 4}), empty=frozenset({4}))
    samples = [Sample(each.at, {**each.load, 4: 60}) for each in HIGH]
    made = decided(samples, four)
    assert (made.answer, made.target) == ("fill", 4)
    assert made.why.endswith("; broker 4 is there and empty: partitions move there before more are added")
