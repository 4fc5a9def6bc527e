"""What has become of dead letters: each fate is kept, and belongs to the operation that has decided it."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.errors import UnknownLetterError
from redrive.ledger import Ledger, Operation, letter_queries
from redrive.ledger.database import Database
from tests.ledger.letters import begin, fate, fill, sighting


def test_the_last_fate_counts_and_all_are_kept(ledger: Ledger) -> None:
    fill(ledger, [sighting(0), sighting(1)])
    first, second = begin(ledger, "dlq-correction"), begin(ledger, "dlq-correction")
    ledger.letters.record_fates(first, [fate(0, "held", reason="newer-event"), fate(1, "published", rules=("a", "b"))])
    ledger.letters.record_fates(second, [fate(0, "published", rules=("a",))])
    story = ledger.letters.story(LetterId.parse("dlq.flights/0/0"))
    assert story.letter.fate == "published"
    assert [decision.fate for decision in story.decisions] == [
        fate(0, "held", reason="newer-event"),
        fate(0, "published", rules=("a",)),
    ]
    assert [decision.operation_id for decision in story.decisions] == [first.id, second.id]
    assert abs(datetime.now(UTC) - story.decisions[0].at) < timedelta(seconds=60)


def test_a_batch_of_fates_may_be_repeated(ledger: Ledger) -> None:
    fill(ledger, [sighting(0), sighting(1)])
    correction = begin(ledger, "dlq-correction")
    assert ledger.letters.record_fates(correction, [fate(0, "published")]) == 1
    assert ledger.letters.record_fates(correction, [fate(0, "published"), fate(1)]) == 1
    assert ledger.letters.record_fates(correction, [fate(0, "published"), fate(1)]) == 0
    assert ledger.letters.record_fates(correction, [fate(1, reason="newer-event")]) == 1
    assert [len(ledger.letters.story(LetterId(None, "dlq.flights", 0, at)).decisions) for at in (0, 1)] == [1, 2]


def test_fates_may_be_repeated_in_any_order_and_however_many_there_are(ledger: Ledger) -> None:
    fill(ledger, [sighting(offset) for offset in range(3_000)])
    correction = begin(ledger, "dlq-correction")
    by_sevens = sorted(range(3_000), key=lambda offset: (offset % 7, offset))
    assert ledger.letters.record_fates(correction, [fate(offset, "published") for offset in by_sevens[:2_000]]) == 2_000
    assert ledger.letters.record_fates(correction, [fate(offset, "published") for offset in by_sevens]) == 1_000
    assert ledger.letters.fates_by(correction.id) == {"published": 3_000}


def test_a_repeated_batch_does_not_undo_what_another_operation_has_done_since(ledger: Ledger) -> None:
    fill(ledger, [sighting(0)])
    first, second = begin(ledger), begin(ledger)
    ledger.letters.record_fates(first, [fate(0, "held")])
    ledger.letters.record_fates(second, [fate(0, "discarded")])
    ledger.letters.record_fates(first, [fate(0, "held")])
    assert ledger.letters.story(LetterId(None, "dlq.flights", 0, 0)).letter.fate == "discarded"


def test_a_fate_of_a_letter_that_was_never_recorded_is_refused_with_all_of_its_batch(ledger: Ledger) -> None:
    fill(ledger, [sighting(0)])
    with pytest.raises(UnknownLetterError, match=r"letter local:dlq\.flights/0/9 is not in the ledger"):
        ledger.letters.record_fates(begin(ledger), [fate(0), fate(9)])
    assert ledger.letters.story(LetterId(None, "dlq.flights", 0, 0)).decisions == ()


def test_a_letter_has_one_fate_a_batch(ledger: Ledger) -> None:
    fill(ledger, [sighting(0)])
    with pytest.raises(ValueError, match="two fates in one batch"):
        ledger.letters.record_fates(begin(ledger), [fate(0), fate(0, "skipped")])


def subjects(ledger: Ledger, operation: Operation) -> list[int]:
    batch = ledger.letters.subjects(Selection(), upto=ledger.letters.last_entry(), also_of=operation.id)
    return [subject.offset for subject in batch]


def test_fates_that_one_operation_records_for_a_dead_one_are_not_its_own(ledger: Ledger) -> None:
    """Else the letters would belong to the batch of the one that only told of them, and be published twice."""
    fill(ledger, [sighting(offset) for offset in range(3)])
    dead, heir = begin(ledger, "dlq-correction"), begin(ledger, "dlq-correction")
    assert ledger.letters.record_fates(heir, [fate(0, "published")], of=dead.id) == 1
    assert ledger.letters.written_by(heir.id) == set()
    ledger.letters.record_fates(heir, [fate(1, "skipped")])
    assert subjects(ledger, heir) == [1, 2]
    assert ledger.letters.fates_by(heir.id) == {"skipped": 1}
    assert ledger.letters.record_fates(heir, [fate(0, "published")], of=dead.id) == 0
    assert ledger.verify_chain() == []


def test_where_an_operation_has_written_is_known_by_its_fates_that_have_a_place(ledger: Ledger) -> None:
    fill(ledger, [sighting(offset) for offset in range(3)])
    operation = begin(ledger, "dlq-correction")
    ledger.letters.record_fates(operation, [fate(0, "held"), fate(1, "skipped")])
    assert ledger.letters.written_by(operation.id) == set()
    ledger.letters.record_fates(operation, [fate(2, "published")])
    assert ledger.letters.written_by(operation.id) == {("local", "dlq.flights", 0)}


def test_to_go_on_takes_no_longer_for_a_letter_the_more_entries_an_operation_has_made(tmp_path: Path) -> None:
    def steps(entries: int) -> int:
        with Ledger.open(url := f"sqlite:///{tmp_path}/{entries}.db") as ledger:
            fill(ledger, [sighting(offset) for offset in range(400)])
            operation = begin(ledger, "dlq-correction")
            for some in range(entries):
                given = [fate(offset, "published") for offset in range(some, 400, entries)]
                ledger.letters.record_fates(operation, given)
            upto = ledger.letters.last_entry()
        database = Database(url)
        taken = 0

        def step() -> None:
            nonlocal taken
            taken += 1

        with database.reading() as session:
            driver = session.connection().connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.set_progress_handler(step, 100)
            found = letter_queries.subjects(session, Selection(), None, 1_000, upto=upto, also_of=operation.id)
            driver.set_progress_handler(None, 0)
        database.close()
        assert len(found) == 400
        return taken

    assert steps(200) < 2 * steps(2)
