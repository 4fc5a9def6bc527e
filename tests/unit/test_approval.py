"""Who may approve a plan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from redrive.errors import StalePlanError
from tasks.approval import RefusedByPersonError, approve, bind
from tasks.operations import NOBODY, Run


def test_where_two_people_are_asked_for_a_run_that_nobody_is_named_for_is_refused_before_it_asks() -> None:
    """The Run button of the open-source server leaves no name, and any name that is typed would be another one."""
    run = cast(Run, SimpleNamespace(who=NOBODY, job="dlq-correction"))
    with pytest.raises(RefusedByPersonError, match="start it with `redrive run dlq-correction --mode run …`"):
        approve(run, "digest", "summary", four_eyes=True)


def moved(before: dict[str, Any], now: dict[str, Any]) -> str:
    with pytest.raises(StalePlanError) as raised:
        bind(cast(Run, None), now, before)
    return str(raised.value)


def test_a_plan_that_is_stale_says_what_of_it_has_moved_and_no_more() -> None:
    before = {
        "letters": 3,
        "targets": {"one": {"orders": 7, "refunds": 8}},
        "content": {"one:dlq.a": {"publish": "a" * 32, "leave": "b" * 32}, "one:dlq.b": {"publish": "c" * 32}},
    }
    schema = before | {"targets": {"one": {"orders": 9, "refunds": 8}}}
    assert "targets › one › orders was 7, and is 9" in moved(before, schema)
    value = before | {"content": {**before["content"], "one:dlq.b": {"publish": "d" * 32}}}  # type: ignore[dict-item]
    assert "content › one:dlq.b › publish has changed" in moved(before, value)
    outcome = before | {"content": {**before["content"], "one:dlq.b": {"leave": "c" * 32}}}  # type: ignore[dict-item]
    assert "content › one:dlq.b › leave was None" in moved(before, outcome)
    many = {"targets": {"one": {str(number): number for number in range(30)}}}
    assert "; and 10 more" in moved(before | {"targets": {"one": {}}}, before | many)
