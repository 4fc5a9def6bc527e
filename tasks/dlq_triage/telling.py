"""Telling that dead letters have become more: of each letter that triage has entered, once at least."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from redrive.health.facts import ALIVE
from tasks.dlq_triage.steps import Overview
from tasks.operations import Run
from tasks.telling import about_cluster, send

GROWING = "redrive.dead_letters.growing"
MOST_GROUPS = 10


def tell_growth(run: Run, overview: Overview) -> list[str]:
    """Tell Prefect's server of each cluster whose dead letters have become more; call it before the run is ended.

    An earlier triage that entered letters and did not come to its end, because it was killed or the server was away,
    has told nobody. What it entered is told with what this one did.

    Returns:
        the ids of those, which the run is to have as ``told`` in its evidence.

    Raises:
        httpx.HTTPError: the server does not answer; the next triage tells it.
    """
    untold = list(_untold(run))
    entered = run.ledger.letters.entered([run.id, *untold])
    groups = [
        {"reason": group.reason, "producer": group.producer, "topic": group.topic, "letters": group.letters}
        for group in overview.groups[:MOST_GROUPS]
    ]
    events = [
        about_cluster(GROWING, cluster, {"cluster": cluster, "new": new, "open": overview.open, "groups": groups})
        for cluster, new in entered.items()
    ]
    if events:
        send(events)
    return untold


def _untold(run: Run) -> Iterator[str]:
    rows = [row for row in run.earlier() if row.mode == "run"]
    told = {id_ for row in rows for id_ in (row.evidence or {}).get("told", [])}
    for row in rows:
        came_to_its_end = "failed" in (row.evidence or {})
        is_at_work = row.status == "running" and datetime.now(UTC) - row.heartbeat_at < ALIVE
        if not (came_to_its_end or is_at_work or row.id in told):
            yield row.id
