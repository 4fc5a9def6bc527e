"""What the reports of all jobs have in common."""

from __future__ import annotations

from tasks.report_parts import MOST_FINDINGS, MOST_ROWS, opening, why_not_done


def test_a_report_begins_with_the_verdict_and_says_nothing_twice() -> None:
    done = "3 letters published again"
    assert opening("proved", f"{done}, each once", about=done) == [f"## Proved: {done}", "Each once."]
    assert opening("paused", "broker 4 is away") == ["## Paused", "Broker 4 is away."]


def test_findings_that_are_not_shown_are_counted() -> None:
    *_, shown, more = opening("failed", "wrong", [f"finding {each}" for each in range(MOST_FINDINGS + 2)])
    assert shown.count("\n- ") == MOST_FINDINGS - 1
    assert more.startswith("… and 2 more")


def test_units_that_are_done_give_no_reason_and_those_that_are_not_named_are_counted() -> None:
    ends = [("orders/0", ""), ("orders/1", "broker 4 is away"), *([("orders/2", "")] * MOST_ROWS)]
    assert why_not_done(ends, "lanes") == [
        "- **orders/1**: broker 4 is away",
        "… and 2 more lanes, which the totals include.",
    ]
