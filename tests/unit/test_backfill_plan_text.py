"""What a backfill's plan says to people, where it says more than its figures."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from redrive.migrations.moving import GroupMove
from redrive.migrations.trial import Trial
from tasks.schema_backfill.plan import _trial, _way_back, approval_text, moves_preview


def plan(trial: Trial, policy: str = "delete", rules: str = "", goal: str = "copy") -> Any:
    return SimpleNamespace(
        trial=trial,
        stock=None,
        goal=goal,
        back=None,
        left=3,
        groups=(),
        topics=SimpleNamespace(name="orders.v2", config={"cleanup.policy": policy}),
        migration=SimpleNamespace(source="orders.v2", target="orders", recipe=SimpleNamespace(rules=rules)),
    )


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete"])
def test_what_is_left_out_of_a_compacted_topic_leaves_an_older_value_there(policy: str) -> None:
    said = "\n".join(_trial(plan(Trial(whole=True, events=3, skipped=Counter(test=1)), policy)))
    assert ("its value there is that of an older one, for good" in said) is policy.startswith("compact")


def test_of_what_cannot_be_migrated_the_first_few_are_named() -> None:
    places = {"rule-failed": ["orders/0@1", "orders/0@9"]}
    said = "\n".join(_trial(plan(Trial(whole=True, events=3, rejected=Counter({"rule-failed": 2}), places=places))))
    assert "`orders/0@1`, `orders/0@9`" in said


@pytest.mark.parametrize(
    ("rules", "how"), [("some", "by the rules' `down`"), ("", "a field that the new schema lacks gets its default")]
)
def test_the_plan_of_a_way_back_says_by_what_events_go_back(rules: str, how: str) -> None:
    [said] = _way_back(plan(Trial(whole=True), rules=rules, goal="feed_back"))
    assert how in said


@pytest.mark.parametrize("goal", ["copy", "cut_over", "switch_producers", "feed_back", "switch_back"])
@pytest.mark.parametrize("is_back", [True, False])
def test_who_approves_a_move_without_a_way_back_is_told_so(goal: str, is_back: bool) -> None:
    asked = plan(Trial(whole=True), goal=goal)
    asked.back = Trial(whole=True) if is_back else None
    warned = "No way back:** the rules have no `down`" in approval_text(asked, "digest")
    assert warned is (not is_back and not goal.endswith("_back"))


def test_places_of_groups_are_shown_with_what_is_in_their_way() -> None:
    said = moves_preview([GroupMove("billing", {0: (4, 7)}, "it would be set back")])
    assert "0: 4 → 7" in said
    assert "it would be set back" in said
    assert moves_preview([]) == ""
