"""What earlier runs that moved partitions have left: to go on with, or to take back."""

from __future__ import annotations

from typing import Any

from redrive.errors import GoalError
from redrive.partitions.rebalancing import way_back
from tasks.operations import Run


def unfinished(run: Run, cluster: str, *, back: bool) -> dict[str, Any]:
    """Give the plan of the last run that moved partitions of a cluster, or the way back from it.

    Raises:
        GoalError: there is none, or it was brought to its end.
    """
    for row in run.earlier():
        if row.cluster != cluster or not row.plan or not run.has_moved(row.id):
            continue
        if not back and row.status == "done":
            raise GoalError(
                "goal", f"the last run here, {row.id[:8]}, left nothing undone; there is nothing to go on with"
            )
        return way_back(row.plan) if back else row.plan
    raise GoalError("goal", f"no run has moved partitions of cluster {cluster} yet")
