"""What the ledger keeps of dead letters, and how far their topics have been read."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redrive.deadletters.dialects import Record, Sighting, sight
from redrive.deadletters.letter_id import LetterId
from redrive.errors import FencedError, StaleTriageError, UnknownLetterError
from redrive.ledger import Ledger
from redrive.ledger.letter_writes import Reach
from tests.ledger.letters import ANY, NOW, begin, fate, fill, offsets, reach, sighting


def test_what_an_operation_has_entered_is_counted_by_cluster(ledger: Ledger) -> None:
    one = fill(ledger, [sighting(0), sighting(1), sighting(2, cluster="east")])
    two = fill(ledger, [sighting(7, partition=1)])
    fill(ledger, [sighting(8, partition=2)])
    assert ledger.letters.entered([one.id, two.id]) == {"east": 1, "local": 3}
    assert ledger.letters.entered([begin(ledger).id]) == {}


def test_a_letter_is_read_back_as_it_was_seen(ledger: Ledger) -> None:
    most = sighting(
        2**40, main_partition=3, main_offset=2**40, schema_id=2**32 - 1, key=b"\x00\xff", partition=2**31 - 1
    )
    least = sighting(0, event_id=None, main_topic="", main_timestamp=None, schema_id=None, key=None, size=None)
    fill(ledger, [most, least])
    assert [known.sighting for known in ledger.letters.find(ANY)] == [least, most]


def test_a_batch_and_the_positions_that_it_reaches_are_recorded_together(ledger: Ledger) -> None:
    triage = begin(ledger)
    assert ledger.letters.record(triage, [sighting(3), sighting(4)], reach(None, 7)) == 2
    assert ledger.letters.positions("local") == {("local", "dlq.flights", 0): 7}
    assert ledger.letters.positions("east") == {}
    assert ledger.letters.record(triage, [], reach(7, 9)) == 0
    assert ledger.letters.positions("local") == {("local", "dlq.flights", 0): 9}


def test_of_two_triages_at_once_the_slower_one_is_refused_and_leaves_no_trace(ledger: Ledger) -> None:
    first, second = begin(ledger), begin(ledger)
    ledger.letters.record(first, [sighting(0)], reach(None, 1))
    ledger.letters.record(first, [sighting(1), sighting(2)], reach(1, 3))
    with pytest.raises(StaleTriageError, match=r"local:dlq\.flights/0 is triaged up to 3, and this batch begins at 1"):
        ledger.letters.record(second, [sighting(1), sighting(5)], reach(1, 6))
    with pytest.raises(StaleTriageError, match="begins at the first triage"):
        ledger.letters.record(second, [sighting(5)], reach(None, 6))
    assert offsets(ledger) == [0, 1, 2]
    assert ledger.letters.positions("local") == {("local", "dlq.flights", 0): 3}


def test_triages_that_run_at_once_record_each_letter_once_and_leave_nothing_out(ledger: Ledger) -> None:
    here = ("local", "dlq.flights", 0)

    def triage() -> int:
        operation, recorded = begin(ledger), 0
        while (at := ledger.letters.positions("local").get(here)) is None or at < 200:
            batch = [sighting(offset) for offset in range(at or 0, (at or 0) + 10)]
            with contextlib.suppress(StaleTriageError):
                recorded += ledger.letters.record(operation, batch, reach(at, (at or 0) + 10))
        return recorded

    with ThreadPoolExecutor(3) as threads:
        recorded = [future.result() for future in [threads.submit(triage) for _ in range(3)]]
    assert sum(recorded) == 200
    assert offsets(ledger) == list(range(200))
    assert ledger.verify_chain() == []


def test_a_batch_of_which_one_partition_is_stale_is_refused_as_a_whole(ledger: Ledger) -> None:
    triage = begin(ledger)
    ledger.letters.record(triage, [], reach(None, 3))
    both = reach(None, 1) | {("local", "dlq.other", 0): Reach(None, 1)}
    with pytest.raises(StaleTriageError):
        ledger.letters.record(triage, [sighting(0, topic="dlq.other")], both)
    assert ledger.letters.count(ANY) == 0


def test_a_letter_that_the_ledger_has_already_stays_as_it_is(ledger: Ledger) -> None:
    fill(ledger, [sighting(0)])
    again = [sighting(0, reason="unknown"), sighting(1)]
    assert ledger.letters.record(begin(ledger), again, reach(2**62, 2**62)) == 1
    assert [known.sighting.reason for known in ledger.letters.find(ANY)] == ["invalid-value"] * 2


@pytest.mark.parametrize(
    ("letters", "reached"),
    [([sighting(0, topic="dlq.other")], reach(None, 3)), ([sighting(3)], reach(None, 3)), ([], reach(3, 2))],
    ids=["other partition", "beyond", "backwards"],
)
def test_a_batch_that_contradicts_itself_is_refused(ledger: Ledger, letters: list[Sighting], reached: Any) -> None:
    with pytest.raises(ValueError, match=r"beyond where|does not move back"):
        ledger.letters.record(begin(ledger), letters, reached)


def test_an_earlier_attempt_of_an_operation_records_nothing_more(ledger: Ledger) -> None:
    earlier = begin(ledger, operation_id="run-1")
    begin(ledger, operation_id="run-1")
    with pytest.raises(FencedError):
        ledger.letters.record(earlier, [sighting(0)], reach(None, 1))
    with pytest.raises(FencedError):
        ledger.letters.record_fates(earlier, [fate(0)])
    assert ledger.letters.count(ANY) == 0


def test_a_letter_that_is_on_two_clusters_must_be_named_with_its_cluster(ledger: Ledger) -> None:
    fill(ledger, [sighting(0), sighting(0, cluster="east", reason="unknown")])
    with pytest.raises(UnknownLetterError, match="is on east and local; write east:dlq"):
        ledger.letters.story(LetterId.parse("dlq.flights/0/0"))
    assert ledger.letters.story(LetterId.parse("east:dlq.flights/0/0")).letter.sighting.reason == "unknown"
    with pytest.raises(UnknownLetterError, match="is not in the ledger"):
        ledger.letters.story(LetterId.parse("dlq.flights/0/1"))


def test_an_events_letters_hang_together_by_attempt(ledger: Ledger) -> None:
    same = {"event_id": "e-0"}
    third, second = sighting(9, attempts=3, **same), sighting(4, attempts=2, topic="dlq.billing", **same)
    fill(ledger, [sighting(0), sighting(5), third, second, sighting(1, main_topic="bookings", **same)])
    ledger.letters.record_fates(begin(ledger), [fate(0, "published")])
    stories = ledger.letters.history("e-0")
    assert [(story.letter.sighting.main_topic, story.letter.sighting.attempts) for story in stories] == [
        ("bookings", 1),
        ("flights", 1),
        ("flights", 2),
        ("flights", 3),
    ]
    assert [len(story.decisions) for story in stories] == [0, 1, 0, 0]


def test_the_history_of_an_event_is_found_by_its_whole_id_however_long(ledger: Ledger) -> None:
    long = "x" * 1_000
    seen = sight(Record("local", "dlq.flights", 0, 0, NOW, [("ce_id", long.encode())], None, None))
    fill(ledger, [seen])
    assert [story.letter.sighting for story in ledger.letters.history(long)] == [seen]
