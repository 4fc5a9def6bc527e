"""How what the ledger keeps of dead letters is told from tampering."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from redrive.ledger import Ledger
from redrive.ledger.database import Database
from tests.ledger.letters import begin, fate, fill, reach, sighting


def test_a_ledger_is_verified_as_of_one_moment_whoever_writes_meanwhile(ledger: Ledger, url: str) -> None:
    count = text("SELECT count(*) FROM dead_letters")
    with Database(url).snapshot() as session:
        before = session.scalar(count)
        fill(ledger, [sighting(0)])
        assert session.scalar(count) == before == 0
    with Database(url).reading() as session:
        assert session.scalar(count) == 1


def test_the_journal_has_one_entry_a_batch(ledger: Ledger) -> None:
    triage = fill(ledger, [sighting(offset) for offset in range(50)])
    ledger.letters.record_fates(triage, [fate(0), fate(1, "published")])
    begun, letters, given = ledger.entries(triage.id)
    assert (begun.kind, letters.kind, given.kind) == ("begun", "letters", "fates")
    assert (letters.body["letters"], letters.body["partitions"]) == (50, {"local:dlq.flights/0": [None, 2**62]})
    assert (given.body["fates"], given.body["by_fate"]) == (2, {"held": 1, "published": 1})


def test_what_the_ledger_writes_itself_cannot_be_noted(ledger: Ledger) -> None:
    for kind in ("letters", "fates"):
        with pytest.raises(ValueError, match="the ledger's own kind"):
            begin(ledger).note(kind, {})


def test_a_ledger_that_nobody_has_touched_is_whole(ledger: Ledger) -> None:
    triage = begin(ledger)
    letters = [sighting(0, key=b"\x00\xff", correctable=False, main_topic="ü"), sighting(1, event_id=None, size=None)]
    ledger.letters.record(triage, letters, reach(None, 2))
    ledger.letters.record(triage, [], reach(2, 5))
    ledger.letters.record(triage, [sighting(7)], reach(5, 8))
    ledger.letters.record_fates(triage, [fate(0), fate(1, "published", rules=("a", "b"))])
    ledger.letters.record_fates(triage, [fate(0, "discarded", reason="by-hand")])
    assert ledger.verify_chain() == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE dead_letters SET reason = 'x' WHERE \"offset\" = 1", "the letters recorded with it are not what"),
        ("UPDATE dead_letters SET correctable = (1 = 0)", "the letters recorded with it are not what"),
        ('DELETE FROM dead_letters WHERE "offset" = 2', "the letters recorded with it are not what"),
        ("UPDATE fates SET to_offset = 1 WHERE fate = 'published'", "the fates recorded with it are not what"),
        ("UPDATE fates SET rules = '[]' WHERE fate = 'published'", "the fates recorded with it are not what"),
        ("DELETE FROM fates WHERE fate = 'held'", "the fates recorded with it are not what"),
        ("DELETE FROM fates", "the fates recorded with it are missing"),
        ("UPDATE dead_letters SET fate = 'held' WHERE \"offset\" = 1", "1 is held, and its last fate is published"),
        ("UPDATE dead_letters SET fate = 'held' WHERE \"offset\" = 2", "2 is held, and its last fate is none"),
        (
            "UPDATE triage_positions SET next_offset = 1",
            "position of local:dlq.flights/0 is 1, not 46116860",
        ),
        ("DELETE FROM triage_positions", "position of local:dlq.flights/0 is missing"),
    ],
)
def test_tampering_with_letters_or_fates_shows(ledger: Ledger, url: str, statement: str, reason: str) -> None:
    triage = fill(ledger, [sighting(offset) for offset in range(3)])
    ledger.letters.record_fates(triage, [fate(0), fate(1, "published", rules=("a",))])
    with Database(url).writing() as session:
        session.execute(text(statement))
    findings = ledger.verify_chain()
    assert any(reason in finding.reason and finding.operation_id == triage.id for finding in findings), findings
