"""How a backfill's end is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from redrive.aliases.alias import Alias
from redrive.aliases.switching import Switched
from redrive.migrations.census import Count
from redrive.migrations.copying import UnitResult
from redrive.migrations.source import GONE
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked
from redrive.pump.pump import Outcome
from tasks.schema_backfill.ending import Ending
from tasks.schema_backfill.report import still_storing
from tasks.side_by_side import UnitEnd


def test_an_interrupted_switch_says_first_that_producers_store_and_what_to_run() -> None:
    nothing: Any = None
    storing = still_storing("orders", "orders.v2", "switch_producers", "rules/orders.yaml")
    ending = Ending(
        plan=nothing, approved="", ends=[], checked=[], how="full", schemas=Count(), moved=[], storing=storing,
        unverified="Kafka does not answer", seconds=1.0, compare_seconds=0.0, started_pace="full speed", changes=[],
    )  # fmt: skip
    assert ending.headline.startswith("producers of orders may be STORING")
    assert "orders.v2 --rules rules/orders.yaml --goal switch_producers --mode run`" in ending.headline
    assert ending.headline.endswith("Kafka does not answer")
    assert ending.status != "done"


def test_what_was_stored_while_producers_were_taken_over_is_proved_like_any_replay() -> None:
    nothing: Any = None
    switched = Switched(nothing, 2, 40, 1.0, "", findings=("orders.v2: 3 events are missing",))
    ending = Ending(
        plan=nothing, approved="", ends=[], checked=[], how="full", schemas=Count(), moved=[], switched=switched,
        unverified="", seconds=1.0, compare_seconds=0.0, started_pace="full speed", changes=[],
    )  # fmt: skip
    assert (ending.verdict, ending.headline) == ("failed", "orders.v2: 3 events are missing")


def ending(schemas: Count, *, foreign: int | None = None, how: Any = "full") -> Ending:
    """The end of a backfill to schema id 7 that has compared its one partition, and found nothing wrong there."""
    plan: Any = SimpleNamespace(
        stock=None, migration=SimpleNamespace(target="orders.v2", recipe=SimpleNamespace(target=7))
    )
    unit = Unit("one", "orders", "orders.v2", 0)
    return Ending(
        plan=plan, approved="", ends=[UnitEnd(unit, "done")], checked=[Checked(unit, foreign=foreign)], how=how,
        schemas=schemas, moved=[], unverified="", seconds=1.0, compare_seconds=0.0, started_pace="full speed",
        changes=[],
    )  # fmt: skip


def test_a_target_with_events_of_an_old_schema_is_not_well_though_all_are_copies() -> None:
    found = ending(Count({7: 10, 3: 2}, unframed=1))
    assert found.findings == [
        "orders.v2: 2 events with schema id 3, and not schema id 7",
        "orders.v2: 1 event with no frame, and not schema id 7",
    ]
    assert found.verdict == "failed"


@pytest.mark.parametrize(
    "good",
    [ending(Count({7: 10})), ending(Count({7: 10, 8: 1}), foreign=4), ending(Count({7: 10, 8: 1}), how="new")],
    ids=["all have it", "others publish there", "not all was compared"],
)
def test_what_others_publish_to_the_target_may_have_the_schema_that_they_like(good: Ending) -> None:
    assert good.findings == []


@pytest.mark.parametrize(
    ("goal", "back"), [("switch_producers", "feed_back"), ("switch_back", "copy")], ids=["forth", "back"]
)
def test_a_switch_whose_consumers_cannot_follow_says_so_first_and_is_not_well(goal: Any, back: str) -> None:
    plan: Any = SimpleNamespace(stock=None, goal=goal)
    current = "orders.v2" if goal == "switch_producers" else "orders"
    switched = Switched(Alias("orders", "orders.v2", current, 1, 1, "{}"), 2, 40, 1.0, "they are mixed")
    found = Ending(
        plan=plan, approved="", ends=[], checked=[], how="full", schemas=Count(), moved=[], switched=switched,
        unverified="", seconds=1.0, compare_seconds=0.0, started_pace="full speed", changes=[],
    )  # fmt: skip
    assert (found.status, found.verdict, found.word) == ("paused", None, "paused")
    assert found.headline.startswith(f"producers of orders publish to {current}, and consumers that follow them get no")
    assert found.headline.endswith(f"they are mixed. Run the goal {back}, then {goal} again")


def test_what_retention_has_deleted_before_it_was_copied_is_told_apart_from_what_a_rule_leaves_out() -> None:
    plan: Any = SimpleNamespace(
        stock=None, migration=SimpleNamespace(target="orders.v2", recipe=SimpleNamespace(target=7))
    )
    unit = Unit("one", "orders", "orders.v2", 0)
    outcome = Outcome(20, 13, {GONE: 4, "a rule: a test": 3}, {}, 0, 0.0, {}, None, 0.0)
    found = Ending(
        plan=plan, approved="", ends=[UnitEnd(unit, "done", UnitResult(unit, outcome, 20))],
        checked=[Checked(unit, events=16)], how="full", schemas=Count({7: 13}), moved=[], unverified="", seconds=1.0,
        compare_seconds=0.0, started_pace="full speed", changes=[],
    )  # fmt: skip
    assert (found.verdict, found.status) == ("counted", "done")
    assert "3 left out, 4 deleted from the source before they were copied" in found.headline
    assert found.reasons == {"left out: a rule: a test": 3, "deleted from the source before they were copied": 4}
