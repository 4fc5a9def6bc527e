"""Looks: how each cluster was found when it was looked at last. One row a cluster, changed in place; no history."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from redrive.ledger.database import Database
from redrive.ledger.models import Base

AT_ONCE = timedelta(minutes=1)
"""Two looks may be under way at once, but not for longer than that: what is further apart is so by somebody's clock."""


class LookRow(Base):
    """See `Look`."""

    __tablename__ = "looks"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    verdict: Mapped[str]
    since: Mapped[datetime]
    backlog: Mapped[bool]
    lags: Mapped[dict[str, Any]]
    troubles: Mapped[dict[str, str] | list[str]] = mapped_column(JSON)
    stayed: Mapped[dict[str, Any]]
    counted: Mapped[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Look:
    """How a cluster was found.

    Attributes:
        at: when it was looked at.
        verdict: what it was.
        since: when that verdict was first given; it has been the same since.
        backlog: events waited in the standby store though the cluster took events.
        lags: consumer group → events that waited for it.
        troubles: the codes of what was wrong lately, see `redrive.health.reasons.reason.Reason`, each with when it was
            seen last, in ISO 8601.
        stayed: name → how far the topic that its producers have left was looked through for others', and what was
            found; see `redrive.health.facts.Stayed`.
        counted: how far what waits in the standby store was counted; see `redrive.health.waiting`.
    """

    cluster: str
    at: datetime
    verdict: str
    since: datetime
    backlog: bool = False
    lags: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    stayed: dict[str, Any] = field(default_factory=dict)
    counted: dict[str, Any] = field(default_factory=dict)


class Looks:
    """The ledger's looks; get it as `Ledger.looks`. Safe to use as the ledger is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, cluster: str) -> Look | None:
        """Give the last look at a cluster; None if there was none."""
        with self._database.reading() as session:
            row = session.get(LookRow, cluster)
        if row is None:
            return None
        troubles = row.troubles
        if isinstance(troubles, list):  # of an earlier version, which had their codes only
            troubles = dict.fromkeys(troubles, row.at.isoformat())
        return Look(
            row.cluster, row.at, row.verdict, row.since, row.backlog, row.lags, troubles, row.stayed, row.counted
        )  # fmt: skip

    def clusters(self) -> list[str]:
        """Give the names of all clusters that were looked at."""
        with self._database.reading() as session:
            return list(session.scalars(select(LookRow.cluster).order_by(LookRow.cluster)))

    def forget(self, clusters: Collection[str]) -> None:
        """Delete the looks at these clusters."""
        with self._database.writing() as session:
            session.execute(delete(LookRow).where(LookRow.cluster.in_(clusters)))

    def enter(self, look: Look) -> None:
        """Enter a look, unless a later one is there already, see `is_late`."""
        with self._database.writing() as session:
            row = session.get(LookRow, look.cluster)
            if row is not None and is_late(look.at, row.at):
                return
            if row is None:
                row = LookRow(cluster=look.cluster)
                session.add(row)
            row.at, row.verdict, row.since = look.at, look.verdict, look.since
            row.backlog, row.lags, row.troubles = look.backlog, look.lags, look.troubles
            row.stayed, row.counted = look.stayed, look.counted


def is_late(at: datetime, known: datetime) -> bool:
    """Whether a look made at a time is none that counts any more, since one made at ``known`` is entered.

    One that seems to be of a minute ahead or more was made by a machine whose clock is wrong, and does not count: else
    nothing could be entered until the other clocks have come to where that one was.
    """
    return timedelta() <= known - at < AT_ONCE
