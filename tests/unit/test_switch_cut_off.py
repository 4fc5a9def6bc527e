"""In which order a run switches producers; and whatever ends that, it says that they may be storing, if they may."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException

from flows import schema_backfill as flow
from redrive.aliases.alias import Alias
from redrive.aliases.switching import Switched
from redrive.errors import (
    CopyTooSlowError,
    GroupInUseError,
    PartitionsChangedError,
    RefusedByClusterError,
    StrandedGroupsError,
)
from redrive.migrations.census import Count
from redrive.migrations.copying import UnitResult
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked
from redrive.pump.pump import Outcome
from tasks.schema_backfill.ending import Ending
from tasks.side_by_side import UnitEnd

SWITCHED = Switched(Alias("orders", "orders.v2", "orders.v2", 1, 1, "{}"), 2, 40, 1.0, "")
UNIT = Unit("one", "orders", "orders.v2", 0)


def copied(events: int) -> UnitEnd[Unit, UnitResult]:
    """A partition of which a run has copied so many events."""
    return UnitEnd(UNIT, "done", UnitResult(UNIT, Outcome(events, events, {}, {}, 0, 0.0, {}, None, 0.0), events))


@dataclass
class Course:
    """What the flow has done, step by step, and how it has ended; each step does nothing, and well."""

    steps: list[str] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    was_cut_off: bool = False

    @property
    def ending(self) -> Ending:
        [ending] = self.endings
        return ending

    def run(self) -> None:
        work: Any = SimpleNamespace(
            config=None, run=None, cluster="main", standings=[], client={}, source="orders", migration=None
        )
        given = flow.Backfill(source="orders", target="orders.v2", goal="switch_producers")
        nothing: Any = None
        flow.carry_out(work, given, nothing, "")


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch) -> Course:
    course = Course()
    does: dict[str, Any] = {
        "make_ready": None, "count_partitions": None, "look_at_alias": None, "bring": [], "compare_topics": [],
        "count_schemas": Count(), "look_how_far": {}, "catch_up_and_hold": [],
        "switch_producers": (SWITCHED, []),
    }  # fmt: skip
    shared: dict[str, Any] = {
        "governor_for": nullcontext(SimpleNamespace(rate=None)), "get_run_logger": logging.getLogger("test"),
        "Copying": SimpleNamespace(governor=SimpleNamespace(rate=None)),
        "Live": nullcontext(SimpleNamespace(pace=SimpleNamespace(changes=[]))),
        "replace": SimpleNamespace(
            stock=None, migration=SimpleNamespace(target="orders.v2", recipe=SimpleNamespace(target=7))
        ),
    }  # fmt: skip

    def step(name: str, gives: Any) -> Any:
        course.steps.append(name)
        return gives

    for name, gives in does.items():
        monkeypatch.setattr(flow, name, lambda *_, name=name, gives=gives, **__: step(name, gives))
    for name, gives in shared.items():
        monkeypatch.setattr(flow, name, lambda *_, gives=gives, **__: gives)
    monkeypatch.setattr(flow, "was_cut_off", lambda *_: course.was_cut_off)
    monkeypatch.setattr(flow, "finish", lambda _, ending: course.endings.append(ending))
    return course


def test_all_is_compared_before_anybody_stores_and_what_came_meanwhile_is_copied_then(course: Course) -> None:
    course.run()
    order = ["bring", "compare_topics", "catch_up_and_hold", "look_at_alias", "switch_producers"]
    assert [step for step in course.steps if step in order] == order


def test_a_switch_that_was_cut_off_is_ended_first_and_all_is_compared_when_nobody_stores_any_more(
    course: Course,
) -> None:
    course.was_cut_off = True
    course.run()
    order = ["bring", "catch_up_and_hold", "look_at_alias", "switch_producers", "compare_topics"]
    assert [step for step in course.steps if step in order] == order


def test_what_was_copied_while_producers_were_taken_over_is_compared_and_counted_as_well(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []

    def compare(_: object, results: list[UnitResult], **options: Any) -> list[Checked]:
        compared.append((results[0].next, options.get("since")))
        wrong = ["orders/0@120 is neither in orders.v2 nor in redrive.parked"] if options.get("since") else []
        return [Checked(UNIT, events=results[0].next, findings=wrong)]

    monkeypatch.setattr(flow, "bring", lambda *_, **__: [copied(100)])
    monkeypatch.setattr(flow, "look_how_far", lambda *_: {UNIT: (100, 104)})
    monkeypatch.setattr(flow, "catch_up_and_hold", lambda *_, **__: [copied(110)])
    monkeypatch.setattr(flow, "switch_producers", lambda *_, **__: (SWITCHED, [copied(130)]))
    monkeypatch.setattr(flow, "compare_topics", compare)
    course.run()
    assert compared == [(100, None), (130, {UNIT: (100, 104)})]
    assert course.ending.counts["copied"] == 130
    assert course.ending.verdict == "failed"
    assert course.ending.headline == "orders/0@120 is neither in orders.v2 nor in redrive.parked"


def test_a_partition_that_is_stuck_when_producers_are_over_makes_the_run_paused(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = UnitEnd[Unit, UnitResult](UNIT, "paused", reason="Kafka one is unavailable")
    monkeypatch.setattr(flow, "bring", lambda *_, **__: [copied(100)])
    monkeypatch.setattr(flow, "catch_up_and_hold", lambda *_, **__: [copied(100)])
    monkeypatch.setattr(flow, "switch_producers", lambda *_, **__: (SWITCHED, [stuck]))
    course.run()
    assert (course.ending.status, course.ending.verdict) == ("paused", None)
    assert "Kafka one is unavailable" in course.ending.headline
    assert "producers of orders publish to orders.v2" in course.ending.headline
    assert course.ending.counts["copied"] == 100


def test_producers_that_store_are_told_of_also_if_the_copy_does_not_get_on(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    course.was_cut_off = True
    stuck = UnitEnd(UNIT, "paused", reason="Kafka one is unavailable")
    monkeypatch.setattr(flow, "bring", lambda *_, **__: [stuck])
    course.run()
    assert course.ending.headline.startswith("producers of orders may be STORING")
    assert course.ending.headline.endswith("Kafka one is unavailable")


def test_nobody_stores_if_the_copy_does_not_come_near(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_slow(*_: object, **__: object) -> None:
        raise CopyTooSlowError("orders", "orders.v2", [40.0, 41.0, 42.0])

    monkeypatch.setattr(flow, "catch_up_and_hold", too_slow)
    course.run()
    assert "switch_producers" not in course.steps
    assert (course.ending.storing, course.ending.status) == ("", "failed")
    assert "40, 41, 42 s" in course.ending.headline


def test_a_switch_that_would_strand_consumers_was_not_begun_and_nobody_stores(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stranded(*_: object, **__: object) -> None:
        raise StrandedGroupsError("orders", "orders.v2", ["billing"], "they are mixed", "feed_back")

    monkeypatch.setattr(flow, "switch_producers", stranded)
    course.run()
    assert (course.ending.storing, course.ending.status) == ("", "failed")
    assert "not switched: consumer groups could not follow" in course.ending.headline


@pytest.mark.parametrize("goal", ["switch_producers", "switch_back"])
def test_an_outage_of_the_source_can_be_replayed_until_its_producers_are_to_leave(goal: Any) -> None:
    held: list[Any] = []
    run = SimpleNamespace(claim=lambda topics, **_: held.extend(topics))
    work: Any = SimpleNamespace(cluster="one", source="orders", target="orders.v2", run=run)
    flow.hold_topics(work, flow.Backfill(source="orders", target="orders.v2", goal=goal))
    assert held == [("one", "orders.v2"), ("one", "back to orders")]


@pytest.mark.parametrize(
    "error",
    [GroupInUseError("billing"), RefusedByClusterError("one", "writing", "no right"), KafkaException("what is that?")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_in_mid_switch_is_told_behind_what_producers_do(
    course: Course, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def switch(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(flow, "switch_producers", switch)
    course.run()
    assert course.ending.headline.startswith("producers of orders may be STORING")
    assert str(error) in course.ending.headline


def test_nobody_moves_from_a_source_that_has_got_more_partitions(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(*_: object) -> None:
        raise PartitionsChangedError("orders", 2, 3)

    monkeypatch.setattr(flow, "count_partitions", counted)
    course.run()
    assert "switch_producers" not in course.steps
    assert (course.ending.verdict, course.ending.status) == (None, "failed")
    assert "topic orders has 3 partitions now" in course.ending.unverified
