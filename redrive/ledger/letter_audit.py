"""Digests of dead letters and fates, one an entry of the journal, and how tampering with their rows is found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, FromClause, Table, and_, exists, func, select
from sqlalchemy.orm import Session

from redrive.deadletters.fate import NONE
from redrive.ledger import chain
from redrive.ledger.chain import Finding
from redrive.ledger.letter_tables import dead_letters, fates, triage_positions
from redrive.ledger.models import EntryRow

PLACE = ("cluster", "topic", "partition", "offset")


def digested(table: Table) -> list[Column[Any]]:
    """Give the columns that an entry's digest is over: all but the entry itself, and a letter's latest fate."""
    left_out = {"entry"} if table is fates else {"entry", "fate"}
    return [column for column in table.c if column.name not in left_out]


def digest(rows: Iterable[Sequence[Any]]) -> str:
    """Give the digest of rows of the columns of `digested`, in the order of their places."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(msgspec.json.encode(tuple(row)) + b"\n")
    return sha.hexdigest()


def verify(session: Session) -> Iterator[Finding]:
    """Read all letters and fates, and find what is not as the journal says."""
    for kind, table in ((chain.LETTERS, dead_letters), (chain.FATES, fates)):
        yield from _verify_rows(session, kind, table)
    yield from _verify_latest_fates(session)
    yield from _verify_positions(session)


def _verify_rows(session: Session, kind: str, table: Table) -> Iterator[Finding]:
    written = {
        entry: (operation_id, body["digest"])
        for entry, operation_id, body in session.execute(
            select(EntryRow.id, EntryRow.operation_id, EntryRow.body).where(EntryRow.kind == kind)
        )
    }
    columns = [table.c.entry, *digested(table)]
    query = select(*columns).order_by(table.c.entry, *(table.c[name] for name in PLACE))
    rows = session.execute(query.execution_options(yield_per=1_000))
    for entry, its_rows in groupby(rows, key=lambda row: row[0]):
        found = digest(row[1:] for row in its_rows)
        operation_id, expected = written.pop(entry, ("", ""))
        if found != expected:
            yield Finding(entry, operation_id, f"the {kind} recorded with it are not what was written")
    for entry, (operation_id, expected) in written.items():
        if expected != digest(()):
            yield Finding(entry, operation_id, f"the {kind} recorded with it are missing")


def _verify_latest_fates(session: Session) -> Iterator[Finding]:
    later = fates.alias()
    last = ~exists().where(*_same_place(later, fates), later.c.entry > fates.c.entry)
    query = (
        select(*(dead_letters.c[name] for name in PLACE), dead_letters.c.entry, dead_letters.c.fate, fates.c.fate)
        .select_from(dead_letters)
        .outerjoin(fates, and_(*_same_place(fates, dead_letters), last))
        .where(dead_letters.c.fate != func.coalesce(fates.c.fate, NONE))
    )
    for cluster, topic, partition, offset, entry, shown, written in session.execute(query):
        reason = f"letter {cluster}:{topic}/{partition}/{offset} is {shown}, and its last fate is {written or NONE}"
        yield Finding(entry, _operation_of(session, entry), reason)


def _verify_positions(session: Session) -> Iterator[Finding]:
    reached: dict[str, tuple[int, str, int]] = {}
    entries = select(EntryRow.id, EntryRow.operation_id, EntryRow.body).where(EntryRow.kind == chain.LETTERS)
    for entry, operation_id, body in session.execute(entries.order_by(EntryRow.id)):
        for partition, (_, position) in body["partitions"].items():
            reached[partition] = entry, operation_id, position
    for cluster, topic, partition, position in session.execute(select(triage_positions)):
        name = f"{cluster}:{topic}/{partition}"
        entry, operation_id, expected = reached.pop(name, (None, "", None))
        if position != expected:
            yield Finding(entry, operation_id, f"the position of {name} is {position}, not {expected}")
    for name, (entry, operation_id, _) in reached.items():
        yield Finding(entry, operation_id, f"the position of {name} is missing")


def _operation_of(session: Session, entry: int) -> str:
    return session.scalar(select(EntryRow.operation_id).where(EntryRow.id == entry)) or ""


def _same_place(one: FromClause, other: FromClause) -> list[ColumnElement[bool]]:
    return [one.c[name] == other.c[name] for name in PLACE]
