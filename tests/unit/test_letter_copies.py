"""A parked letter that its topic no longer has: its copy says all that the letter said."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redrive.deadletters.correction import Batch, Unit, copies, note_copies, plan, source
from redrive.deadletters.correction.copies import ONLY_CORRECTED, Copy, read_copies
from redrive.deadletters.dialects import Record
from redrive.deadletters.fate import Fate
from redrive.deadletters.judging.judge import Judge
from redrive.deadletters.letter import letter_of_bytes
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.opening import open_letter
from redrive.deadletters.selection import Selection
from redrive.events import Event
from redrive.ledger import Ledger
from redrive.pump.names import OPERATION_HEADER, PARKING_TOPIC, SOURCE_HEADER
from redrive.rules import Rejected
from tests.ledger.letters import begin, fill, sighting
from tests.unit.test_letter_source import REGISTRY, WRITER, All, Work, letter, record, unit_of

ORIGIN = "dlq/one/dlq/0/letters/%d/0"


class Hopeless:
    digest = "ef" * 32

    def apply(self, letter: Any, value: Any) -> Rejected:
        return Rejected("r", "no")


class Message:
    """A record of the parking topic, as the sink writes it."""

    def __init__(self, event: Event, offset: int) -> None:
        written = [*event.headers, (OPERATION_HEADER, b"op"), (SOURCE_HEADER, event.origin.encode())]
        self.headers: Callable[[], Any] = lambda: written
        self.key, self.value = lambda: event.key, lambda: event.value
        self.offset, self.timestamp = lambda: offset, lambda: (1, event.timestamp)


Park = Callable[..., dict[int, list[Copy]]]


@pytest.fixture
def park(monkeypatch: pytest.MonkeyPatch) -> Park:
    """Put events into a parking topic of one partition, behind somebody's; gives copies by letters' offsets."""

    def park(*events: Event) -> dict[int, list[Copy]]:
        log = [Message(Event("x", PARKING_TOPIC, b"x", b"x", [], 1, None, ORIGIN % 9_999), 0)]
        log += [Message(event, at) for at, event in enumerate(events, 1)]

        def scan(_: Any, topic: str, start: dict[int, int], *, end: dict[int, int], patience: float) -> Any:
            assert topic == PARKING_TOPIC
            yield log[start[0] : end[0]]

        monkeypatch.setattr(copies, "scan", scan)
        monkeypatch.setattr(copies, "end_offsets", lambda *_: [len(log)])
        return {int(event.origin.split("/")[-2]): [Copy(0, at, True)] for at, event in enumerate(events, 1)}

    return park


def judged(of: Record, rules: Any, attempts: int = 5) -> Event:
    made = Judge(rules, {"orders": WRITER}, REGISTRY.reader(), attempts=attempts).judge(of, ORIGIN % of.offset)
    assert made.event is not None, made
    return made.event


def parked(of: Record) -> Event:
    event = judged(of, Hopeless(), attempts=1)
    assert event.topic == PARKING_TOPIC
    return event


def name(of: Record) -> LetterId:
    return LetterId(of.cluster, of.topic, of.partition, of.offset)


def of_bytes() -> Record:
    about: dict[str, Any] = {"reason": "handler-failed", "detail": "", "producer": "g", "topic": "orders", "key": None}
    place: dict[str, Any] = {
        "partition": 3,
        "offset": 8,
        "timestamp": 1_500,
        "event_id": "e1",
        "headers": [("h", b"1")],
    }
    return record(letter_of_bytes("dlq", value=WRITER.encode({"id": 1, "v": 1}), now=9_000, **about, **place), 4)


def of_spring() -> Record:
    headers: list[tuple[str, bytes | None]] = [
        ("h", b"1"),
        ("kafka_dlt-original-topic", b"orders"),
        ("kafka_dlt-original-partition", struct.pack(">i", 1)),
        ("kafka_dlt-exception-fqcn", b"com.shop.PaymentException"),
    ]
    return Record("one", "dlq", 0, 7, 9_000, headers, b"k", WRITER.encode({"id": 1, "v": 1}))


@pytest.mark.parametrize("of", [letter(2, 1_000, 5), of_bytes(), of_spring()], ids=["json", "bytes", "spring"])
def test_the_copy_makes_the_same_event_as_the_letter(of: Record, park: Park) -> None:
    there = park(parked(of))
    (found,) = read_copies({}, {name(of): (there[of.offset], of.timestamp)}).values()
    assert judged(found, All()) == judged(of, All())
    assert (found.cluster, found.topic, found.offset, found.timestamp) == ("one", "dlq", of.offset, of.timestamp)


def test_a_record_that_is_no_copy_of_the_letter_is_not_taken_for_it(park: Park) -> None:
    of = letter(2, 1_000, 5)
    park(parked(of))
    elsewhere = LetterId("one", "dlq", 0, 6)
    no_copies = [Copy(0, 1, True), Copy(0, 77, True), Copy(5, 0, True)]
    assert read_copies({}, {elsewhere: (no_copies, 1)}) == {}
    assert list(read_copies({}, {name(of): ([*no_copies[1:], no_copies[0]], 1)})) == [name(of)], "any that is there"


def test_an_event_that_kafka_has_refused_is_a_letter_with_the_corrected_value(park: Park) -> None:
    of = letter(2, 1_000, 5)
    refused = judged(of, All())
    refused.headers += [("redrive-topic", b"orders"), ("redrive-reason", b"MSG_SIZE_TOO_LARGE: too large")]
    there = park(refused)
    (found,) = read_copies({}, {name(of): (there[5], of.timestamp)}).values()
    opened = open_letter(found)
    assert (opened.topic, opened.reason, opened.attempt, opened.timestamp) == ("orders", "refused", 1, 1_000)
    assert opened.value == WRITER.encode({"id": 1, "v": 2})
    assert opened.headers == [("ce_id", b"e2")]


def test_whole_copies_are_read_before_others() -> None:
    at = LetterId("one", "dlq", 0, 5)
    fates = [
        Fate(at, "held"),
        Fate(at, "parked", "refused", (), PARKING_TOPIC, 2, 5),
        Fate(at, "parked", "attempts", (), PARKING_TOPIC, 1, 7),
        Fate(at, "parked", "refused", (), PARKING_TOPIC, 0, 9),
    ]
    assert Copy.all_of(fates) == [Copy(1, 7, True), Copy(2, 5, False), Copy(0, 9, False)]
    assert Copy.all_of(fates[:1]) == []


def test_letters_that_their_topic_no_longer_has_are_read_from_their_copies(
    monkeypatch: pytest.MonkeyPatch, park: Park
) -> None:
    letters = [letter(number, 1_000 + number, number) for number in range(4)]
    unit = unit_of(letters)
    unit.written.extend(each.timestamp for each in letters)
    unit.copies = park(parked(letters[2]), parked(letters[0]))
    monkeypatch.setattr(source, "_COPIES", 2)
    monkeypatch.setattr(source, "_end", lambda *_: 4)
    monkeypatch.setattr(source, "_read", lambda *_: iter([[letters[3]]]))
    found = list(source.read_letters({}, unit))
    assert [each if isinstance(each, int) else each.offset for each in found] == [0, 1, 2, 3]
    assert [isinstance(each, int) for each in found] == [False, True, False, False]


def test_what_is_there_of_a_refused_letter_is_left_to_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, [], unit=Unit("one", "dlq", 0, array("q", [0, 1])))
    work.unit.only_corrected = {0}
    for module in (source, plan):
        monkeypatch.setattr(module, "read_letters", lambda *_: iter([0, 1]))
    (chunk,) = work.source.chunks(None)
    assert chunk.skipped == {f"left: {ONLY_CORRECTED}": 1, "skipped: gone": 1}
    assert [fate.letter.offset for fate in work.fates] == [1]
    assert work.plan().reasons == {("leave", ONLY_CORRECTED): 1, ("gone", "gone"): 1}


def test_a_batch_knows_the_copies_of_its_letters_by_what_has_parked_them(tmp_path: Path) -> None:
    def name(offset: int) -> LetterId:
        return LetterId("local", "dlq.flights", 0, offset)

    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        fill(ledger, [sighting(offset) for offset in range(4)])
        fates = [
            Fate(name(0), "parked", "attempts", (), PARKING_TOPIC, 1, 7),
            Fate(name(1), "parked", "refused", (), PARKING_TOPIC, 2, 8),
            Fate(name(2), "held"),
        ]
        ledger.letters.record_fates(begin(ledger), fates)
        again = [Fate(name(0), "parked", "attempts", (), PARKING_TOPIC, 0, 9)]
        ledger.letters.record_fates(begin(ledger), again)
        ledger.letters.record_fates(begin(ledger), [Fate(name(0), "held")])
        batches = []
        for by_hand in (False, True):
            subjects = ledger.letters.subjects(Selection(fates=[]), upto=ledger.letters.last_entry(), also_of="")
            batches.append(Batch(each for each in subjects if each.offset != 3))
            note_copies(batches[-1], ledger.letters, by_hand=by_hand)
    ((bulk,), (single,)) = (batch.units for batch in batches)
    both = [Copy(1, 7, True), Copy(0, 9, True)]
    assert (bulk.copies, bulk.only_corrected) == ({0: both}, {1})
    assert (single.copies, single.only_corrected) == ({0: both, 1: [Copy(2, 8, False)]}, set())
