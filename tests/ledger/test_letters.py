"""What the ledger keeps of dead letters, how it is selected, and how it is told from tampering."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from redrive.deadletters.dialects import Record, Sighting, sight
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.errors import FencedError, StaleTriageError, UnknownLetterError
from redrive.ledger import Ledger, Operation, letter_queries
from redrive.ledger.database import Database
from redrive.ledger.letter_writes import Reach

NOW = 1_793_500_000_007
HOUR = 3_600_000
ANY = Selection(fates=[])


def sighting(offset: int = 0, **changes: Any) -> Sighting:
    given: dict[str, Any] = {
        "cluster": "local",
        "topic": "dlq.flights",
        "partition": 0,
        "offset": offset,
        "timestamp": NOW + offset,
        "dialect": "own",
        "event_id": f"e-{offset}",
        "reason": "invalid-value",
        "cause": "",
        "field": "dep_time",
        "producer": "flights",
        "main_topic": "flights",
        "main_partition": None,
        "main_offset": None,
        "main_timestamp": NOW,
        "schema_id": 7,
        "attempts": 1,
        "key": b"UA",
        "size": 100,
        "correctable": True,
    }
    return Sighting(**(given | changes))


def begin(ledger: Ledger, job: str = "dlq-triage", operation_id: str | None = None) -> Operation:
    about: dict[str, Any] = {"cluster": "local", "resources": [], "who": "anna", "parameters": {}}
    return ledger.begin(job, "run", operation_id=operation_id, **about)


def fill(ledger: Ledger, letters: Iterable[Sighting]) -> Operation:
    """Record letters of partitions that nobody has read before."""
    letters = list(letters)
    operation = begin(ledger)
    partitions = {(each.cluster, each.topic, each.partition) for each in letters}
    ledger.letters.record(operation, letters, {partition: Reach(None, 2**62) for partition in partitions})
    return operation


def reach(begin: int | None, next: int) -> dict[tuple[str, str, int], Reach]:
    return {("local", "dlq.flights", 0): Reach(begin, next)}


def fate(offset: int, name: Any = "held", **more: Any) -> Fate:
    if name == "published":
        more |= {"topic": "flights", "partition": 1, "offset": 100 + offset}
    return Fate(LetterId("local", "dlq.flights", 0, offset), name, **more)


def offsets(ledger: Ledger, **selection: Any) -> list[int]:
    return [place.offset for place in ledger.letters.places(Selection(**selection))]


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


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ({"reasons": ["unknown"]}, [1]),
        ({"producers": ["billing"]}, [2]),
        ({"topics": ["orders", "other"]}, [3]),
        ({"topics": [""]}, [8]),
        ({"clusters": ["east"]}, [4]),
        ({"dead_letter_topics": ["dlq.billing"]}, [5]),
        ({"event_keys": ["hex:00ff"]}, [6]),
        ({"schema_ids": [2**32 - 1]}, [7]),
        ({"dialects": ["spring"]}, [8]),
        ({"ids": ["dlq.flights/0/1", "dlq.flights/0/4", "local:dlq.flights/0/6"]}, [1, 4, 6]),
        ({"ids": ["local:dlq.flights/0/4"]}, []),
        ({"since": datetime.fromtimestamp(NOW // 1000, UTC) + timedelta(milliseconds=9)}, [2, 3, 4, 5, 6, 7, 8]),
        ({"until": datetime.fromtimestamp(NOW // 1000, UTC) + timedelta(milliseconds=9)}, [0, 1]),
        ({"since": datetime.fromtimestamp(NOW // 1000, UTC) + timedelta(microseconds=8001)}, [2, 3, 4, 5, 6, 7, 8]),
        ({"reasons": ["unknown"], "producers": ["billing"]}, []),
        ({"reasons": ["unknown", "invalid-value"], "producers": ["billing"]}, [2]),
        ({"fates": ["published"]}, []),
    ],
)
def test_a_selection_is_what_meets_all_of_its_conditions(ledger: Ledger, selection: Any, found: list[int]) -> None:
    fill(
        ledger,
        [
            sighting(0),
            sighting(1, reason="unknown"),
            sighting(2, producer="billing"),
            sighting(3, main_topic="orders"),
            sighting(4, cluster="east"),
            sighting(5, topic="dlq.billing"),
            sighting(6, key=b"\x00\xff"),
            sighting(7, schema_id=2**32 - 1),
            sighting(8, dialect="spring", main_topic=""),
        ],
    )
    assert sorted(offsets(ledger, **selection)) == found
    assert ledger.letters.count(Selection(**selection)) == len(found)


def test_a_selection_is_of_open_letters_unless_it_names_other_fates(ledger: Ledger) -> None:
    fill(ledger, [sighting(offset) for offset in range(7)])
    names = ["published", "held", "skipped", "parked", "rejected", "discarded"]
    ledger.letters.record_fates(begin(ledger), [fate(offset, name) for offset, name in enumerate(names)])
    assert offsets(ledger) == [1, 6]
    assert offsets(ledger, fates=[]) == [0, 1, 2, 3, 4, 5, 6]
    assert offsets(ledger, fates=["none", "parked"]) == [3, 6]


def test_as_many_ids_as_a_selection_takes_are_found(ledger: Ledger) -> None:
    fill(ledger, [sighting(partition, partition=partition) for partition in range(1_001)])
    ids = [f"{'local:' if at % 2 else ''}dlq.flights/{at}/{at}" for at in range(1_000)]
    assert ledger.letters.count(Selection(ids=ids)) == 1_000


def test_letters_come_in_their_order_whatever_the_size_of_pages(ledger: Ledger) -> None:
    names = ["Z", "a", "a-b", "a.b", "a_b", "ab"]
    letters = [
        sighting(offset + place, main_topic=main, topic=topic, partition=partition)
        for place, main in enumerate(names)
        for topic in names[:2]
        for partition in (0, 2, 10)
        for offset in (2**40, 10)
    ]
    fill(ledger, letters)
    expected = sorted((each.cluster, each.main_topic, each.topic, each.partition, each.offset) for each in letters)
    for page in (1, 7, 72, 5_000):
        assert [tuple(place)[:-1] for place in ledger.letters.places(ANY, page=page)] == expected
    listed = ledger.letters.find(ANY, limit=70)
    listed += ledger.letters.find(ANY, limit=70, after=listed[-1].place)
    assert [tuple(known.place)[:-1] for known in listed] == expected


def test_groups_tell_how_many_how_old_and_how_often(ledger: Ledger) -> None:
    first, second = sighting(0, attempts=3), sighting(1, correctable=False)
    fill(ledger, [first, second, sighting(2, producer="billing")])
    big, small = ledger.letters.groups(Selection())
    assert (big.reason, big.producer, big.topic, big.letters, big.correctable, big.attempts) == (
        "invalid-value",
        "flights",
        "flights",
        2,
        1,
        3,
    )
    assert round(big.oldest.timestamp() * 1000) == NOW
    assert round(big.newest.timestamp() * 1000) == NOW + 1
    assert (small.producer, small.letters) == ("billing", 1)


def test_the_trend_counts_letters_by_hour_or_day(ledger: Ledger) -> None:
    midnight = NOW - NOW % (24 * HOUR)
    times = [midnight - 1, midnight, midnight + HOUR - 1, midnight + HOUR, midnight + 3 * HOUR]
    fill(ledger, [sighting(offset, timestamp=time) for offset, time in enumerate(times)])
    day = datetime.fromtimestamp(midnight // 1000, UTC)
    hour = timedelta(hours=1)
    assert ledger.letters.trend(Selection(), "hour") == [
        (day - hour, 1),
        (day, 2),
        (day + hour, 1),
        (day + 3 * hour, 1),
    ]
    assert ledger.letters.trend(Selection(), "day") == [(day - timedelta(days=1), 1), (day, 4)]


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
