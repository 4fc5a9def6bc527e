"""What earlier runs that moved partitions have left: to go on with, or to take back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redrive.errors import GoalError, StalePlanError
from redrive.ledger import EntryRow, OperationRow
from redrive.partitions.rebalancing import BACK, way_back
from redrive.partitions.state import Key
from tasks.operations import MOVING, ROLLING_BACK, UNDER_MIN_ISR, Run


def unfinished(run: Run, cluster: str, *, back: bool) -> dict[str, Any]:
    """Give the plan of the run that was the last to move partitions of a cluster, or the way back from it.

    A run that was on a way back is gone on with that way, by either goal.

    Raises:
        GoalError: there is none, or it was brought to its end.
    """
    last = _last(run, cluster)
    if last is None:
        raise GoalError("goal", f"no run has moved partitions of cluster {cluster} yet")
    row = run.ledger.operation(last.operation_id)
    plan = dict(row.plan or {})
    it = {"run": row.id, "at": f"{last.at:%Y-%m-%d %H:%M UTC}"}
    if plan["goal"].get("mode") == BACK or last.kind == ROLLING_BACK:
        if row.status == "done" or (last.kind == ROLLING_BACK and _is_back(row)):
            raise GoalError("goal", f"the last run here, {row.id[:8]}, has taken its moves back; nothing is left to do")
        return {"takes_back": it, **(way_back(plan) if last.kind == ROLLING_BACK else plan)}
    if back:
        return way_back(plan) | {"takes_back": it}
    if row.status == "done":
        raise GoalError("goal", f"the last run here, {row.id[:8]}, left nothing undone; there is nothing to go on with")
    return plan | {"goes_on_with": it}


def require_last(run: Run, cluster: str, kept: Mapping[str, Any]) -> None:
    """See that a plan which was begun, by this run or by the one that it takes up, is the last that was begun.

    Raises:
        StalePlanError: another run has moved partitions since, or has taken back what this one has moved.
    """
    it = kept.get("takes_back") or kept.get("goes_on_with")
    known, last = {run.id, it["run"] if it else run.id}, _last(run, cluster)
    if last is not None and last.operation_id not in known:
        raise StalePlanError(
            f"run {last.operation_id} has moved partitions since, or taken them back ({last.at:%Y-%m-%d %H:%M UTC})"
        )


def under_min_isr_before(run: Run, kept: Mapping[str, Any]) -> frozenset[Key] | None:
    """Give the partitions that were under min ISR when that began to move which a plan goes on with.

    None of a plan that nobody has begun yet, or that is a way back: then those count that are so by now.
    """
    if kept["goal"].get("mode") == BACK:
        return None
    it = kept.get("goes_on_with")
    entries = run.ledger.entries(it["run"] if it else run.id)
    told = next((entry.body.get(UNDER_MIN_ISR) for entry in entries if entry.kind == MOVING), None)
    return None if told is None else frozenset((topic, number) for topic, number in told)


def _last(run: Run, cluster: str) -> EntryRow | None:
    """Give the journal's last entry that partitions of a cluster may have moved; None if there is none."""
    entries = [entry for kind in (MOVING, ROLLING_BACK) if (entry := run.ledger.latest(kind, cluster))]
    return max(entries, key=lambda entry: entry.id, default=None)


def of_which_run(kept: dict[str, Any]) -> list[str]:
    """Say in a sentence which run a plan takes up; none for a plan of its own."""
    for name, words in (("takes_back", "This takes back"), ("goes_on_with", "This goes on with")):
        if it := kept.get(name):
            return [f"{words} run {it['run']}, which began to move on {it['at']}."]
    return []


def _is_back(row: OperationRow) -> bool:
    end = (row.evidence or {}).get("back")
    return end is not None and not end["stopped"] and not end["not_done"]
