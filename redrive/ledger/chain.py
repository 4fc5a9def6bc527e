"""The journal's chain of hashes, and how a break in it is found.

Every change of an operation is an entry that holds the columns it changed. So the entries alone say what each row
of ``operations`` must look like, and a row changed behind the ledger's back shows as well as a changed entry. What
cannot show is a journal cut off at its end together with the rows it was about: keep `Ledger.head` somewhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from redrive.ledger.models import EntryRow, OperationRow

FIRST = "0" * 64
BEGUN, PLANNED, ENDED, TAKEN_OVER = "begun", "planned", "ended", "taken over"
CHANGES = frozenset({BEGUN, PLANNED, ENDED, TAKEN_OVER})
"""Kinds of entries whose body is the columns of the operation that they set."""
LETTERS, FATES = "letters", "fates"
"""Kinds of entries that stand for rows of other tables, by a digest: see `redrive.ledger.letter_audit`."""
OWED, SETTLED = "owed", "settled"
"""Kinds of entries about debts: see `redrive.ledger.debts`."""
OWN = CHANGES | {LETTERS, FATES, OWED, SETTLED}
"""Kinds that are for the ledger alone to write."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A place where the journal, or an operation's row, is not what was written.

    Attributes:
        entry: the entry's id, or None where a row of ``operations`` is what is wrong.
    """

    entry: int | None
    operation_id: str
    reason: str


def digest(value: Any) -> str:
    """Give the SHA-256 of a value as JSON, in hexadecimal digits; the order of keys does not matter."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def as_json(value: Any) -> Any:
    """Give the value as what reading it back from JSON gives (times as text, structures as dictionaries)."""
    return msgspec.json.decode(_canonical(value))


def append(session: Session, operation_id: str, kind: str, body: dict[str, Any], at: datetime) -> int:
    """Add an entry; give its id. The caller's transaction must be the only one that writes (see `Database.writing`)."""
    last = session.execute(select(EntryRow.id, EntryRow.hash).order_by(EntryRow.id.desc()).limit(1)).first()
    entry = EntryRow(
        id=last.id + 1 if last else 1,
        operation_id=operation_id,
        at=at,
        kind=kind,
        body=as_json(body),
        previous_hash=last.hash if last else FIRST,
    )
    entry.hash = _hash(entry)
    session.add(entry)
    session.flush()
    return entry.id


def change(session: Session, row: OperationRow, kind: str, columns: dict[str, Any], at: datetime) -> None:
    """Set columns of an operation, and enter that."""
    for name, value in columns.items():
        setattr(row, name, value if isinstance(value, datetime) else as_json(value))
    append(session, row.id, kind, columns, at)


def verify(session: Session) -> Iterator[Finding]:
    """Read the whole journal, and find what does not fit."""
    rows: dict[str, dict[str, Any]] = {}
    id_, hash_ = 0, FIRST
    for entry in session.scalars(select(EntryRow).order_by(EntryRow.id).execution_options(yield_per=1000)):
        if entry.id != id_ + 1:
            reason = f"entries {id_ + 1} to {entry.id - 1} are missing"
            yield Finding(entry.id, entry.operation_id, reason)
        elif entry.previous_hash != hash_:
            yield Finding(entry.id, entry.operation_id, "does not follow from the entry before it")
        if entry.hash != _hash(entry):
            yield Finding(entry.id, entry.operation_id, "is not what was written: its hash differs")
        if entry.kind in CHANGES:
            rows.setdefault(entry.operation_id, {}).update(entry.body)
        id_, hash_ = entry.id, entry.hash
        session.expunge(entry)
    for row in session.scalars(select(OperationRow)):
        written = rows.pop(row.id, None)
        if written is None:
            yield Finding(None, row.id, "the journal has no entry of this operation")
            continue
        for name, value in written.items():
            if as_json(getattr(row, name)) != value:
                yield Finding(None, row.id, f"{name} is not what the journal says")
    for operation_id in rows:
        yield Finding(None, operation_id, "the operation's row is missing")


def _hash(entry: EntryRow) -> str:
    return digest([entry.id, entry.operation_id, entry.at, entry.kind, entry.body, entry.previous_hash])


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
