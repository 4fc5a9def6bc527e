"""How clusters were found last, and what was last done on them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from redrive.ledger import Ledger, Look, Operation

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
WELL = Look("east", NOW, "well", NOW - timedelta(hours=1), backlog=False, lags={"billing": 7}, counted={"table": "t"})


def begin(ledger: Ledger, job: str, cluster: str, mode: str = "run") -> Operation:
    return ledger.begin(job, mode, cluster=cluster, resources=[], who="anna", parameters={})


def test_of_a_cluster_only_the_last_look_is_kept(ledger: Ledger) -> None:
    assert ledger.looks.last("east") is None
    ledger.looks.enter(WELL)
    later = replace(WELL, at=NOW + timedelta(minutes=1), verdict="unwell", since=NOW, backlog=True, lags={})
    ledger.looks.enter(later)
    ledger.looks.enter(replace(WELL, cluster="west"))
    assert ledger.looks.last("east") == later


def test_a_look_that_comes_late_changes_nothing(ledger: Ledger) -> None:
    ledger.looks.enter(WELL)
    ledger.looks.enter(replace(WELL, at=NOW - timedelta(seconds=40), verdict="unavailable"))
    assert ledger.looks.last("east") == WELL


def test_a_clock_that_is_ahead_does_not_keep_others_from_entering_what_they_find(ledger: Ledger) -> None:
    ledger.looks.enter(replace(WELL, at=NOW + timedelta(minutes=5)))
    down = replace(WELL, verdict="unavailable")
    ledger.looks.enter(down)
    assert ledger.looks.last("east") == down


def test_troubles_as_an_earlier_version_has_entered_them_pass_for_seen_at_that_look(ledger: Ledger) -> None:
    earlier: Any = ["backlog"]
    ledger.looks.enter(replace(WELL, troubles=earlier))
    last = ledger.looks.last("east")
    assert last is not None
    assert last.troubles == {"backlog": NOW.isoformat()}


def test_looks_at_clusters_that_are_gone_can_be_forgotten(ledger: Ledger) -> None:
    for name in ("east", "west", "north"):
        ledger.looks.enter(replace(WELL, cluster=name))
    ledger.looks.forget(["west", "north", "never"])
    assert ledger.looks.clusters() == ["east"]
    assert ledger.looks.last("west") is None


def test_the_last_run_of_each_job_is_that_of_the_cluster_and_no_plan(ledger: Ledger) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    begin(ledger, "standby-replay", "east").finish("failed")
    last = begin(ledger, "standby-replay", "east")
    begin(ledger, "standby-replay", "east", mode="plan")
    begin(ledger, "standby-replay", "northeast")
    triage = begin(ledger, "dlq-triage", "east, west")
    triage.finish("done", "counted")
    runs = ledger.last_runs("east", since)
    assert [(run.id, run.status, run.verdict) for run in runs] == [
        (triage.id, "done", "counted"),
        (last.id, "running", None),
    ]
    assert ledger.last_runs("west", datetime.now(UTC)) == ()


def test_what_is_held_on_a_cluster_is_told_with_who_holds_it(ledger: Ledger) -> None:
    replay, other = begin(ledger, "standby-replay", "east"), begin(ledger, "dlq-correction", "east-2")
    ledger.claim(["east/orders", "east/menus"], replay)
    ledger.claim(["east-2/orders"], other)
    held = ledger.held_on("east")
    assert [(hold.resource, hold.job, hold.operation) for hold in held] == [
        ("east/menus", "standby-replay", replay.id),
        ("east/orders", "standby-replay", replay.id),
    ]
