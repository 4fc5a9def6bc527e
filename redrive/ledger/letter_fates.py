"""What operations have made of dead letters: questions about fates."""

from __future__ import annotations

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.ledger import chain, letter_audit
from redrive.ledger.letter_tables import fates
from redrive.ledger.models import EntryRow


def fates_by(session: Session, operation_id: str) -> dict[str, int]:
    """See `redrive.ledger.letters.Letters.fates_by`."""
    place = [fates.c[name] for name in letter_audit.PLACE]
    of_operation = select(*place, func.max(fates.c.entry).label("last"))
    last = of_operation.where(fates.c.entry.in_(own_fates(session, operation_id))).group_by(*place).subquery()
    same = [fates.c[name] == last.c[name] for name in letter_audit.PLACE]
    query = select(fates.c.fate, func.count()).join(last, and_(*same, fates.c.entry == last.c.last))
    return dict(session.execute(query.group_by(fates.c.fate)).tuples().all())


def written_by(session: Session, operation_id: str) -> set[tuple[str, str, int]]:
    """See `redrive.ledger.letters.Letters.written_by`."""
    query = select(fates.c.cluster, fates.c.topic, fates.c.partition).distinct()
    query = query.where(fates.c.entry.in_(own_fates(session, operation_id)), fates.c.to_topic.is_not(None))
    return set(session.execute(query).tuples().all())


def given_by(session: Session, operation_id: str, partition: tuple[str, str, int]) -> dict[int, bool]:
    """See `redrive.ledger.letters.Letters.given_by`."""
    entries = session.execute(
        select(EntryRow.id, EntryRow.operation_id, EntryRow.body).where(EntryRow.kind == chain.FATES)
    )
    its = [number for number, by, body in entries if body.get("of", by) == operation_id]
    here = [fates.c[name] == value for name, value in zip(letter_audit.PLACE, partition, strict=False)]
    query = select(fates.c.offset, fates.c.to_topic).where(*here, fates.c.entry.in_(its)).order_by(fates.c.entry)
    return {offset: topic is not None for offset, topic in session.execute(query)}


def parked(session: Session, partition: tuple[str, str, int]) -> list[Fate]:
    """See `redrive.ledger.letters.Letters.parked`."""
    here = [fates.c[name] == value for name, value in zip(letter_audit.PLACE, partition, strict=False)]
    columns = letter_audit.digested(fates)
    query = select(*columns).where(*here, fates.c.fate == "parked", fates.c.to_topic.is_not(None))
    return [
        Fate(LetterId(*place), name, reason, tuple(rules), topic, number, offset)
        for *place, name, reason, rules, topic, number, offset in session.execute(query.order_by(fates.c.entry))
    ]


def own_fates(session: Session, operation_id: str) -> list[int]:
    """Give the entries of fates that an operation has given itself: not those it has recorded for others."""
    of_fates = (EntryRow.operation_id == operation_id, EntryRow.kind == chain.FATES)
    entries = session.execute(select(EntryRow.id, EntryRow.body).where(*of_fates))
    return [number for number, body in entries if "of" not in body]
