"""`Ledger`: opens the database, begins operations, lets them claim what they work on, and answers questions."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import or_, select
from sqlalchemy.engine import URL

from redrive.errors import UnknownOperationError
from redrive.ledger import chain, holds, letter_audit, runs
from redrive.ledger.database import Database
from redrive.ledger.debts import Debts
from redrive.ledger.letters import Letters
from redrive.ledger.looks import Looks
from redrive.ledger.models import EntryRow, OperationRow
from redrive.ledger.operation import Operation


class Ledger:
    """The record of all operations. Safe to use from several threads, processes and machines at once.

    Attributes:
        letters: the dead letters, and what became of them.
        debts: settings that jobs have changed for their own time.
        looks: how each cluster was found when it was looked at last.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.letters = Letters(database)
        self.debts = Debts(database)
        self.looks = Looks(database)

    @classmethod
    def open(cls, url: URL | str) -> Ledger:
        """Open the ledger at a database URL, and bring its tables up to date.

        Raises:
            ConfigError: the database is of a newer version of Redrive.
            UnavailableError: the database does not answer.
        """
        database = Database(url)
        database.upgrade()
        return cls(database)

    @classmethod
    def as_it_is(cls, url: URL | str) -> Ledger:
        """Open the ledger at a database URL to read it; its tables stay as they are.

        For whoever only watches, and must not bring the tables to a version that the jobs don't have yet.

        Raises:
            ConfigError: the database is of another version of Redrive, or has no tables yet.
            UnavailableError: the database does not answer.
        """
        return cls(Database.as_it_is(url))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(
        self,
        job: str,
        mode: str,
        *,
        cluster: str,
        resources: Sequence[str],
        who: str,
        parameters: dict[str, Any],
        run_url: str | None = None,
        operation_id: str | None = None,
    ) -> Operation:
        """Begin an operation, or go on with the one that has this id.

        Going on makes it run again and fences off the handle that an earlier attempt may still have. What the
        operation holds stays its own.

        Raises:
            ValueError: there is such an operation, but of another job.
        """
        now = datetime.now(UTC)
        columns: dict[str, Any] = {
            "job": job,
            "mode": mode,
            "status": "running",
            "cluster": cluster,
            "resources": list(resources),
            "who": who,
            "parameters": parameters,
            "run_url": run_url,
            "ended_at": None,
            "verdict": None,
            "counts": None,
            "evidence": None,
        }
        with self._database.writing() as session:
            row = session.get(OperationRow, operation_id) if operation_id else None
            if row is None:
                row = OperationRow(id=operation_id or str(uuid.uuid4()), attempt=0, heartbeat_at=now)
                columns["started_at"] = now
                for name, value in columns.items():  # the row must be there before the entry that refers to it
                    setattr(row, name, value)
                session.add(row)
                session.flush()
            elif row.job != job:
                raise ValueError(f"operation {operation_id} is of the job {row.job}, not {job}")
            columns["attempt"] = row.attempt + 1
            chain.change(session, row, chain.BEGUN, columns, now)
            row.heartbeat_at = now
            return Operation(self._database, row)

    def claim(self, resources: Iterable[str], operation: Operation, ttl: float = holds.TTL) -> None:
        """Hold ``resources`` for ``operation`` until it ends; all of them or none.

        A resource is a ``cluster``, or a ``cluster/topic``; a cluster's hold covers all its topics. If another
        operation holds one, this waits for that one's heartbeat, at most ``ttl`` seconds. It comes: refused. It does
        not: that operation is dead; it is entered as failed, and what it held is taken over.

        Raises:
            HeldError: an operation that is alive holds one of them; names it.
            FencedError: ``operation`` is no longer this process's.
        """
        holds.claim(self._database, list(resources), operation, ttl)

    def operations(self, limit: int = 50, job: str | None = None) -> list[OperationRow]:
        """Give the latest operations, newest first."""
        query = select(OperationRow).order_by(OperationRow.started_at.desc(), OperationRow.id).limit(limit)
        if job is not None:
            query = query.where(OperationRow.job == job)
        with self._database.reading() as session:
            return list(session.scalars(query))

    def worked(self, job: str, limit: int = 500) -> list[OperationRow]:
        """Give the latest operations of a job that did something, newest first: they have a verdict, or lack one.

        Plans, and runs that had nothing to do, are left out, however many there are.
        """
        without = OperationRow.status.in_(("running", "failed", "paused", "cancelled"))
        query = select(OperationRow).where(OperationRow.job == job, OperationRow.mode == "run")
        query = query.where(or_(OperationRow.verdict.is_not(None), without))
        with self._database.reading() as session:
            return list(session.scalars(query.order_by(OperationRow.started_at.desc(), OperationRow.id).limit(limit)))

    def has(self, operation_id: str) -> bool:
        """Say whether there is an operation of this id."""
        with self._database.reading() as session:
            return session.get(OperationRow, operation_id) is not None

    def operation(self, operation_id: str) -> OperationRow:
        """Give an operation by its id, or by as many first letters of it as make it the only one.

        Raises:
            UnknownOperationError: there is none, or more than one.
        """
        query = select(OperationRow).where(OperationRow.id.startswith(operation_id, autoescape=True)).limit(2)
        with self._database.reading() as session:
            found = list(session.scalars(query))
            exact = [row for row in found if row.id == operation_id] or session.scalars(
                select(OperationRow).where(OperationRow.id == operation_id)
            ).all()
        if exact:
            return exact[0]
        if len(found) != 1 or not operation_id:
            raise UnknownOperationError(operation_id, "several" if found else "none")
        return found[0]

    def entries(self, operation_id: str) -> list[EntryRow]:
        """Give an operation's entries in the journal, oldest first."""
        query = select(EntryRow).where(EntryRow.operation_id == operation_id).order_by(EntryRow.id)
        with self._database.reading() as session:
            return list(session.scalars(query))

    def noted(self, kind: str, since: datetime) -> list[EntryRow]:
        """Give what operations have noted under a word since then, oldest first."""
        query = select(EntryRow).where(EntryRow.kind == kind, EntryRow.at >= since).order_by(EntryRow.id)
        with self._database.reading() as session:
            return list(session.scalars(query))

    def latest(self, kind: str, cluster: str) -> EntryRow | None:
        """Give the latest entry of a kind that an operation on a cluster has made; None if there is none."""
        query = select(EntryRow).join(OperationRow).where(EntryRow.kind == kind, OperationRow.cluster == cluster)
        with self._database.reading() as session:
            return session.scalar(query.order_by(EntryRow.id.desc()).limit(1))

    def held(self) -> dict[str, str]:
        """Give what is held: resource → id of the operation that holds it."""
        return holds.held(self._database)

    def held_on(self, cluster: str) -> tuple[runs.Hold, ...]:
        """Give what is held on a cluster, and who shows which sign of life."""
        with self._database.reading() as session:
            return runs.holds_on(session, cluster)

    def last_runs(self, cluster: str, since: datetime) -> tuple[runs.LastRun, ...]:
        """Give the last run of each job that concerns a cluster, if it began since then or is under way."""
        with self._database.reading() as session:
            return runs.last_runs(session, cluster, since)

    def latest_runs(self) -> tuple[runs.LastRun, ...]:
        """Give the last run of each job on each cluster, however long ago; plans count as none."""
        with self._database.reading() as session:
            return runs.latest_runs(session)

    def last_sign(self, operations: Sequence[str]) -> runs.LastSign | None:
        """Give the last sign of life that any of these operations has shown, if one of them is there."""
        with self._database.reading() as session:
            return runs.last_sign(session, operations)

    def head(self) -> str:
        """Give the hash of the journal's last entry; it stands for everything that was ever written."""
        query = select(EntryRow.hash).order_by(EntryRow.id.desc()).limit(1)
        with self._database.reading() as session:
            return session.scalar(query) or chain.FIRST

    def verify_chain(self) -> list[chain.Finding]:
        """Read all of the ledger; give each place where the journal, or what it is about, was tampered with."""
        with self._database.snapshot() as session:
            return [*chain.verify(session), *letter_audit.verify(session)]
