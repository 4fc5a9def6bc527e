"""The handle of a running operation."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from redrive.errors import FencedError
from redrive.ledger import chain
from redrive.ledger.database import Database
from redrive.ledger.models import HoldRow, OperationRow, Status
from redrive.verdict import Verdict

logger = logging.getLogger(__name__)


class Operation:
    """A running operation, as the one process that runs it sees it. May be used by several threads.

    Attributes:
        id: the operation's id.
        job: the job's name.
        attempt: 1 at first; one more each time that the operation was begun again.
    """

    def __init__(self, database: Database, row: OperationRow) -> None:
        self._database = database
        self.id, self.job, self.attempt = row.id, row.job, row.attempt

    def __repr__(self) -> str:
        return f"Operation({self.job} {self.id}, attempt {self.attempt})"

    def heartbeat(self) -> None:
        """Say that this operation is alive; needed every few seconds while it holds something.

        Raises:
            FencedError: the operation was begun again elsewhere, or, having shown no heartbeat for long, what it
                held was taken over. This process must stop.
        """
        with self._database.writing() as session:
            self.own(session).heartbeat_at = datetime.now(UTC)

    @contextmanager
    def keep_alive(self, every: float = 3.0) -> Iterator[threading.Event]:
        """Send heartbeats from a thread, every so many seconds, as long as the block runs.

        Gives an event that is set as soon as the operation is no longer this process's: check it between steps.
        """
        stop, lost = threading.Event(), threading.Event()

        def beat() -> None:
            while not stop.wait(every):
                try:
                    self.heartbeat()
                except FencedError:
                    lost.set()
                    return
                except Exception as error:  # whatever it is: without heartbeats others take it for dead
                    logger.warning("no heartbeat of %r: %s", self, error)

        thread = threading.Thread(target=beat, name=f"heartbeat {self.id}", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            stop.set()
            thread.join()

    def plan(self, plan: dict[str, Any]) -> str:
        """Keep the plan, and give its digest: what an approval binds.

        Raises:
            FencedError: see `heartbeat`.
        """
        plan_digest = chain.digest(plan)
        with self._database.writing() as session:
            columns = {"plan": plan, "plan_digest": plan_digest}
            chain.change(session, self.own(session), chain.PLANNED, columns, datetime.now(UTC))
        return plan_digest

    def note(self, kind: str, body: dict[str, Any]) -> None:
        """Add an entry to the journal: what happened, in the job's own word ``kind``.

        Raises:
            ValueError: ``kind`` is one of the ledger's own.
        """
        if kind in chain.OWN:
            raise ValueError(f"{kind!r} is the ledger's own kind of entry; choose another word")
        with self._database.writing() as session:
            chain.append(session, self.id, kind, body, datetime.now(UTC))

    def finish(
        self,
        status: Status,
        verdict: Verdict | None = None,
        counts: dict[str, int] | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """End the operation and give up what it holds; `Ledger.begin` with the same id goes on with it.

        Raises:
            FencedError: see `heartbeat`; what the other one has written stands.
        """
        now = datetime.now(UTC)
        columns = {
            "status": status,
            "ended_at": now,
            "verdict": verdict,
            "counts": counts,
            "evidence": evidence,
        }
        with self._database.writing() as session:
            chain.change(session, self.own(session), chain.ENDED, columns, now)
            session.execute(delete(HoldRow).where(HoldRow.operation_id == self.id))

    def own(self, session: Session) -> OperationRow:
        """Give the operation's row, if it is still this process's to change.

        Raises:
            FencedError: see `heartbeat`.
        """
        row = session.get_one(OperationRow, self.id)
        if row.attempt != self.attempt or row.status != "running":
            raise FencedError(f"operation {self.id} ({self.job})")
        return row
