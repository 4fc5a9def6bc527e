"""Letters that were rejected, and live on as other letters that triage has not read."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import and_, exists, select
from sqlalchemy.orm import Session

from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId, kafka_topic
from redrive.ledger import chain, letter_audit
from redrive.ledger.letter_tables import dead_letters, fates
from redrive.ledger.letter_writes import Partition, partition_of
from redrive.ledger.models import EntryRow


def unread_successors(session: Session, positions: Mapping[Partition, int]) -> list[Fate]:
    """See `redrive.ledger.letters.Letters.unread_successors`."""
    letter, later = dead_letters.c, fates.alias().c
    of_letter = (letter[name] == fates.c[name] for name in letter_audit.PLACE)
    newer = (later[name] == fates.c[name] for name in letter_audit.PLACE)
    last = select(*letter_audit.digested(fates), fates.c.entry).join(dead_letters, and_(*of_letter))
    last = last.where(letter.fate == "rejected", fates.c.fate == "rejected")
    last = last.where(~exists().where(*newer, later.entry > fates.c.entry))
    by_place = {
        (cluster, kafka_topic(topic), partition): (cluster, topic, partition) for cluster, topic, partition in positions
    }
    begun = _first_entries(session)
    found = []
    for cluster, topic in sorted({place[:2] for place in by_place}):
        here = last.where(letter.cluster == cluster, fates.c.to_topic == topic)
        for *place, name, reason, rules, to, number, offset, entry in session.execute(here):
            partition = by_place.get((cluster, to, number))
            # Letters of an older generation stood at the same offsets: they were rejected before this one was begun.
            if partition and offset >= positions[partition] and entry > begun.get(partition, 0):
                found.append(Fate(LetterId(*place), name, reason, tuple(rules), to, number, offset))
    return sorted(found, key=lambda fate: fate.letter)


def _first_entries(session: Session) -> dict[Partition, int]:
    """Give by which entry of the journal each partition, of each generation, was first recorded."""
    entries = select(EntryRow.id, EntryRow.body).where(EntryRow.kind == chain.LETTERS).order_by(EntryRow.id)
    first: dict[Partition, int] = {}
    for entry, body in session.execute(entries):
        for name in body["partitions"]:
            first.setdefault(partition_of(name), entry)
    return first
