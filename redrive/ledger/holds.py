"""Who holds what. No clocks are compared: a holder is alive if its heartbeat *moves* while one watches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from redrive.errors import HeldError
from redrive.ledger import chain
from redrive.ledger.database import Database
from redrive.ledger.models import HoldRow, OperationRow
from redrive.ledger.operation import Operation

TTL = 15.0
"""Seconds without a heartbeat after which a holder is taken for dead."""
POLL = 0.25

_Beat = tuple[int, datetime]


def claim(database: Database, resources: Sequence[str], operation: Operation, ttl: float) -> None:
    """See `redrive.ledger.Ledger.claim`."""
    first_seen: dict[str, tuple[_Beat, float]] = {}
    while not _try(database, resources, operation, ttl, first_seen):
        time.sleep(POLL)


def held(database: Database) -> dict[str, str]:
    """See `redrive.ledger.Ledger.held`."""
    with database.reading() as session:
        return {hold.resource: hold.operation_id for hold in session.scalars(select(HoldRow))}


def overlap(one: str, other: str) -> bool:
    """Say whether two resources are the same, or one is the cluster of the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _try(
    database: Database,
    resources: Sequence[str],
    operation: Operation,
    ttl: float,
    first_seen: dict[str, tuple[_Beat, float]],
) -> bool:
    with database.writing() as session:
        operation.own(session)
        holds = list(session.scalars(select(HoldRow)))
        mine = {hold.resource for hold in holds if hold.operation_id == operation.id}
        in_the_way = {
            hold.operation_id: resource
            for hold in holds
            for resource in resources
            if hold.operation_id != operation.id and overlap(hold.resource, resource)
        }
        dead: list[OperationRow] = []
        for holder_id, resource in in_the_way.items():
            holder = session.get_one(OperationRow, holder_id)
            beat, now = (holder.attempt, holder.heartbeat_at), time.monotonic()
            seen, since = first_seen.setdefault(holder_id, (beat, now))
            if beat != seen:
                raise HeldError(resource, f"{holder.job} {holder.id}")
            if now - since >= ttl:
                dead.append(holder)
        if len(dead) < len(in_the_way):
            return False
        for holder in dead:
            _take_over(session, holder, operation, ttl)
        now_ = datetime.now(UTC)
        for resource in dict.fromkeys(resources):
            if resource not in mine:
                session.add(HoldRow(resource=resource, operation_id=operation.id, since=now_))
        return True


def _take_over(session: Session, dead: OperationRow, operation: Operation, ttl: float) -> None:
    now = datetime.now(UTC)
    evidence = {"reason": f"no heartbeat for {ttl:g} s", "taken_over_by": operation.id}
    columns = {"status": "failed", "verdict": None, "ended_at": now, "evidence": evidence}
    chain.change(session, dead, chain.TAKEN_OVER, columns, now)
    session.execute(delete(HoldRow).where(HoldRow.operation_id == dead.id))
