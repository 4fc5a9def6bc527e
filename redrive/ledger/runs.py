"""Questions about a cluster's runs: the last one of each job, and what is held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from redrive.ledger.models import HoldRow, OperationRow

_COLUMNS = (
    OperationRow.id, OperationRow.job, OperationRow.mode, OperationRow.status, OperationRow.verdict,
    OperationRow.cluster, OperationRow.who, OperationRow.started_at, OperationRow.ended_at, OperationRow.run_url,
    OperationRow.heartbeat_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LastRun:
    """A run, without its plan and evidence, which may be large. See `redrive.ledger.models.OperationRow`."""

    id: str
    job: str
    mode: str
    status: str
    verdict: str | None
    cluster: str
    who: str
    started_at: datetime
    ended_at: datetime | None
    run_url: str | None
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class LastSign:
    """Of several operations, what the one that was alive last has shown.

    Attributes:
        id: its id.
        status, heartbeat_at: see `redrive.ledger.models.OperationRow`.
    """

    id: str
    job: str
    status: str
    heartbeat_at: datetime
    ended_at: datetime | None

    @property
    def at(self) -> datetime:
        """When it was last known to be alive."""
        return max(self.heartbeat_at, self.ended_at or self.heartbeat_at)


@dataclass(frozen=True, slots=True)
class Hold:
    """What a running operation keeps others from touching.

    Attributes:
        resource: ``cluster``, or ``cluster/topic``.
        heartbeat_at: when its operation was last known to be alive.
    """

    resource: str
    job: str
    operation: str
    since: datetime
    heartbeat_at: datetime


def last_runs(session: Session, cluster: str, since: datetime) -> tuple[LastRun, ...]:
    """Give the last run of each job that concerns a cluster, newest first; plans count as none.

    Args:
        session: of the ledger.
        cluster: its name.
        since: only runs that began then or later, or that are under way.
    """
    query = (
        select(*_COLUMNS)
        .where(OperationRow.mode != "plan")
        .where(or_(OperationRow.started_at >= since, OperationRow.status == "running"))
        # A job of several clusters names them all, with commas between; which of them is told below.
        .where(OperationRow.cluster.contains(cluster, autoescape=True))
        .order_by(OperationRow.started_at.desc(), OperationRow.id)
    )
    found: dict[str, LastRun] = {}
    for row in session.execute(query):
        run = LastRun(*row)
        if cluster in run.cluster.split(", "):
            found.setdefault(run.job, run)
    return tuple(found.values())


def latest_runs(session: Session) -> tuple[LastRun, ...]:
    """Give the last run of each job on each cluster, however long ago, newest first; plans count as none."""
    row = OperationRow
    last = select(row.job, row.cluster, func.max(row.started_at).label("at")).where(row.mode != "plan")
    newest = last.group_by(row.job, row.cluster).subquery()
    query = (
        select(*_COLUMNS)
        .join(newest, (newest.c.job == row.job) & (newest.c.cluster == row.cluster) & (newest.c.at == row.started_at))
        .where(row.mode != "plan")
        .order_by(row.started_at.desc(), row.id)
    )
    found: dict[tuple[str, str], LastRun] = {}
    for run in (LastRun(*columns) for columns in session.execute(query)):
        for cluster in run.cluster.split(", "):
            found.setdefault((run.job, cluster), replace(run, cluster=cluster))
    return tuple(found.values())


def last_sign(session: Session, operations: Sequence[str]) -> LastSign | None:
    """Give what was shown last by any of these operations, which need not be there; None: none is."""
    row = OperationRow
    query = select(row.id, row.job, row.status, row.heartbeat_at, row.ended_at).where(row.id.in_(operations))
    found = [LastSign(*columns) for columns in session.execute(query)]
    return max(found, key=lambda sign: sign.at, default=None)


def holds_on(session: Session, cluster: str) -> tuple[Hold, ...]:
    """Give what is held on a cluster, by resource."""
    query = (
        select(HoldRow.resource, OperationRow.job, OperationRow.id, HoldRow.since, OperationRow.heartbeat_at)
        .join(OperationRow)
        .order_by(HoldRow.resource)
    )
    every: Iterable[Hold] = (Hold(*row) for row in session.execute(query))
    return tuple(hold for hold in every if hold.resource.partition("/")[0] == cluster)
