"""Debts: settings that a job has changed for its own time, and that are to be what they were.

A debt is entered before the change is made. So whatever dies, and whenever: the ledger says what to look at, and how
it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from redrive.ledger import chain
from redrive.ledger.database import Database
from redrive.ledger.models import Base
from redrive.ledger.operation import Operation

KEPT = 20
"""Of the values that an operation has set, the latest so many are known for its own."""


class DebtRow(Base):
    """A setting to be restored, or that was.

    Attributes:
        operation_id: whose change it was; of several, the last one's.
        kind, name: what has the setting, such as ``broker`` and ``3``.
        previous: what was set on it before; None if nothing was, so that what it inherits is to have effect again.
        ours: what the operation has set, or was about to set, the latest `KEPT` of them. Other values are somebody
            else's.
        settled_at: None as long as it is owed.
        how: how it was settled.
        settled_by: the operation that did.
    """

    __tablename__ = "debts"

    id: Mapped[int] = mapped_column(primary_key=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"), index=True)
    cluster: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    name: Mapped[str]
    setting: Mapped[str]
    previous: Mapped[str | None]
    ours: Mapped[list[str]]
    owed_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    how: Mapped[str | None]
    settled_by: Mapped[str | None] = mapped_column(ForeignKey("operations.id"))

    @property
    def place(self) -> tuple[str, str, str]:
        """What has the setting, and which."""
        return self.kind, self.name, self.setting


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a setting that is about to be made.

    Attributes:
        kind, name, setting: see `DebtRow`.
        seen: what is set on it now; None if nothing is.
        ours: what will be.
    """

    kind: str
    name: str
    setting: str
    seen: str | None
    ours: str


class Debts:
    """The ledger's debts; get it as `Ledger.debts`. Safe to use as the ledger is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def owed(self, cluster: str | None = None) -> list[DebtRow]:
        """Give what is owed, oldest first; on one cluster or on all."""
        with self._database.reading() as session:
            return _owed(session, cluster)

    def latest(self, limit: int) -> list[DebtRow]:
        """Give the latest debts, newest first, owed or settled."""
        with self._database.reading() as session:
            return list(session.scalars(select(DebtRow).order_by(DebtRow.id.desc()).limit(limit)))

    def owe(self, operation: Operation, cluster: str, changes: Sequence[Change]) -> None:
        """Enter debts; call this before the changes are made. All are entered or none.

        What is owed already, by whichever operation, stays owed with its previous value. But a value that neither
        that debt nor this change has set is somebody's new one: it is what is to be restored from now on.

        Raises:
            FencedError: the operation is no longer this process's.
        """
        if not changes:
            return
        now = datetime.now(UTC)
        with self._database.writing() as session:
            operation.own(session)
            owed = {row.place: row for row in _owed(session, cluster)}
            for change in changes:
                row = owed.get((change.kind, change.name, change.setting))
                if row is None:
                    row = DebtRow(cluster=cluster, kind=change.kind, name=change.name, setting=change.setting)
                    row.previous, row.ours, row.owed_at = change.seen, [], now
                    session.add(row)
                row.previous, row.ours = owing(row.previous, row.ours, change)
                row.operation_id = operation.id
            entered = [[change.kind, change.name, change.setting, change.seen, change.ours] for change in changes]
            chain.append(session, operation.id, chain.OWED, {"cluster": cluster, "changes": entered}, now)

    def settle(self, operation: Operation, how: Mapping[int, str]) -> None:
        """Enter that debts, by id, are settled, and how. Those that somebody else has settled meanwhile stay so.

        Raises:
            FencedError: the operation is no longer this process's.
        """
        if not how:
            return
        now = datetime.now(UTC)
        with self._database.writing() as session:
            operation.own(session)
            rows = [row for row in _by_id(session, how) if row.settled_at is None]
            for row in rows:
                row.settled_at, row.how, row.settled_by = now, how[row.id], operation.id
            entered = [[row.cluster, *row.place, how[row.id]] for row in rows]
            if entered:
                chain.append(session, operation.id, chain.SETTLED, {"debts": entered}, now)


def owing(previous: str | None, ours: Sequence[str], change: Change) -> tuple[str | None, list[str]]:
    """Give the previous value and ours of a debt, after a further change; see `Debts.owe`.

    All of our values count: which one is set at last is not known while orders are on their way, or the process has
    died, or a broker tells an older story.
    """
    known = list(dict.fromkeys([*(value for value in ours if value != change.ours), change.ours]))
    return previous if change.seen in ours else change.seen, known[-KEPT:]


def _owed(session: Session, cluster: str | None) -> list[DebtRow]:
    query = select(DebtRow).where(DebtRow.settled_at.is_(None)).order_by(DebtRow.id)
    return list(session.scalars(query if cluster is None else query.where(DebtRow.cluster == cluster)))


def _by_id(session: Session, ids: Iterable[int]) -> list[DebtRow]:
    # One by one: as many as there are brokers and topics, and databases limit the length of a list.
    return [row for row in (session.get(DebtRow, id_) for id_ in sorted(ids)) if row is not None]
