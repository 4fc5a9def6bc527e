"""How a backfill's end is told."""

from __future__ import annotations

from typing import Any

from redrive.aliases.switching import Switched
from redrive.migrations.census import Count
from tasks.backfill_report import Ending, still_storing


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
