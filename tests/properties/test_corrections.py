"""Whatever letters there are, however they come in pieces and however often the work begins anew: each ends once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrive.avro.schema import parse
from redrive.coding import Reader, Writer
from redrive.deadletters.correction import Judge, OrderGuard, Policy, Unit, source
from redrive.deadletters.correction.batch import Wanted
from redrive.deadletters.correction.order_guard import MainTopic
from redrive.deadletters.correction.source import LEFT, LetterSource
from redrive.deadletters.dialects import Record
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter import Letter, letter_of_bytes, letter_of_value, without_value
from redrive.events import Event, Headers
from redrive.pump.model import Chunk
from redrive.pump.names import PARKING_TOPIC
from redrive.rules import Corrected, Outcome, Rejected, Skipped, Unmatched
from redrive.schemas import SchemaRegistry
from tests.properties.avro_values import ANYTHING

given_time = settings(max_examples=100, deadline=None)

SCHEMA = parse(json.dumps({"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}]}))
WRITER = Writer("orders", 7, 1, SCHEMA)
REGISTRY = SchemaRegistry({"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0})
REGISTRY._schemas[7] = SCHEMA
MAIN = MainTopic({}, "orders", Wanted())
MAIN.newest[b"late"] = (1_000, 0)
GUARD = OrderGuard({"orders": MAIN})
ABOUT: dict[str, Any] = {"event_id": "e", "reason": "invalid-value", "detail": "", "producer": "p"}


class ByValue:
    """Rules that do what the letter's value says."""

    digest = "ab" * 32

    def apply(self, letter: Letter, value: Any) -> Outcome:
        word = value.get("note") if isinstance(value, dict) else None
        outcomes = {"reject": Rejected("r", "no"), "skip": Skipped("r", "no"), "unmatched": Unmatched()}
        return outcomes.get(word) if word in outcomes else Corrected(value, ("r",))  # type: ignore[return-value]


NAMES = [f"redrive-{name}" for name in ("reason", "encoding", "timestamp", "topic", "lossy", "attempt")]
NAMES += ["ce_id", "__connect.errors.topic", "kafka_dlt-original-topic", "x"]
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.one_of(st.none(), st.sampled_from([b"orders", b"7", b"-1", b"raw", b"json"]), st.binary(max_size=5)),
    ),
    max_size=6,
)
NOTES = st.sampled_from(["reject", "skip", "unmatched", "fine"])
VALUES = st.one_of(ANYTHING, st.builds(lambda note, id: {"id": id, "note": note}, NOTES, st.sampled_from([1, "1"])),
                   st.just({"id": 1}))  # fmt: skip
NO_FRAMES = st.binary(max_size=12).filter(lambda data: not data.startswith(b"\x00"))  # nobody knows other schemas
BYTES = st.one_of(st.none(), NO_FRAMES, st.integers(0, 200).map(lambda n: WRITER.encode({"id": n})))


@st.composite
def letters(draw: st.DrawFn) -> tuple[Headers | None, bytes | None, bytes | None]:
    """Headers, key and value of a record that may be a letter of whoever."""
    key = draw(st.sampled_from([None, b"", b"late", b"k"]))
    if draw(st.integers(0, 4)) == 0:
        return draw(st.one_of(st.none(), HEADERS)), key, draw(BYTES)
    about = ABOUT | {"key": key, "topic": draw(st.sampled_from(["orders", "gone", "of nobody"])), "timestamp": 5}
    about |= {"headers": [("redrive-attempt", b"%d" % draw(st.integers(0, 4)))]}
    if draw(st.booleans()):
        event = letter_of_bytes("dlq", value=draw(BYTES), **about)
    else:
        event = letter_of_value("dlq", value=draw(VALUES), **about)
    event = draw(st.sampled_from([event, event, event, without_value(event)]))
    return event.headers, event.key, event.value


BATCHES = st.lists(st.one_of(letters(), st.none()), max_size=12)
"""Some letters; None is one that its topic no longer has."""


def judge() -> Judge:
    reader: Reader = REGISTRY.reader()
    return Judge(ByValue(), {"orders": WRITER, "gone": "main-topic-gone"}, reader, attempts=3)


def origins(events: Sequence[Event]) -> list[int]:
    return [int(event.origin.split("/")[-2]) for event in events]


class Bench:
    """The source of a unit whose letters are in memory, beginning at offset 100."""

    def __init__(self, batch: Sequence[Any], policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offsets = list(range(100, 100 + len(batch)))
        self.records: list[Record | int] = [
            offset if letter is None else Record("one", "dlq", 0, offset, 5, *letter)
            for offset, letter in zip(self.offsets, batch, strict=True)
        ]
        self.unit = Unit("one", "dlq", 0, array("q", self.offsets))
        self.fates: list[Fate] = []
        self._policy = policy
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(source, "read_letters", self._read)
        self.cut_into_pieces_of(3)

    def _read(self, _client: Any, unit: Unit, since: int) -> Iterator[Record | int]:
        return (record for record, offset in zip(self.records, self.offsets, strict=True) if offset >= since)

    def cut_into_pieces_of(self, letters: int) -> None:
        self._monkeypatch.setattr(source, "_PIECE", letters)

    def chunks(self, cursor: bytes | None, operation: str = "op") -> Iterator[Chunk]:
        work = LetterSource(
            {}, self.unit, judge(), GUARD, self._policy, operation=operation, record_fates=self.fates.extend
        )
        return work.chunks(cursor)


@given_time
@given(BATCHES, st.sampled_from(["hold", "publish", "skip"]), st.integers(1, 5))
def test_every_letter_has_exactly_one_outcome(batch: list[Any], policy: Policy, piece: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Bench(batch, policy, monkeypatch)
        bench.cut_into_pieces_of(piece)
        chunks = list(bench.chunks(None))
    events = [event for chunk in chunks for event in chunk.events]
    passed = [reason for chunk in chunks for reason, count in (chunk.skipped or {}).items() for _ in range(count)]
    assert origins(events) == sorted(set(origins(events)))
    entered = [fate.letter.offset for fate in bench.fates]
    assert len(entered) == len(set(entered))
    assert not set(origins(events)) & set(entered)
    left = [reason for reason in passed if reason.startswith(LEFT)]
    assert len(passed) == len(entered) + len(left)
    assert len(events) + len(passed) == len(batch)
    assert {event.topic for event in events} <= {"orders", "dlq", PARKING_TOPIC}
    assert policy != "hold" or not any(event.topic == "orders" and event.key == b"late" for event in events)


@given_time
@given(BATCHES, st.data())
def test_work_that_begins_anew_wherever_it_was_cut_off_makes_the_same_of_each_letter_once(
    batch: list[Any], data: st.DataObject
) -> None:
    """A piece that was not committed is made again; its fates, entered before, are the same."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Bench(batch, "hold", monkeypatch)
        whole = [event for chunk in bench.chunks(None) for event in chunk.events]
        fates = list(bench.fates)
        bench.fates.clear()
        committed: list[Event] = []
        cursor = None
        for _ in range(6):
            bench.cut_into_pieces_of(data.draw(st.integers(1, 4)))
            cut = data.draw(st.integers(0, 4))
            for number, chunk in enumerate(bench.chunks(cursor)):
                if number == cut:
                    break
                committed += chunk.events
                cursor = chunk.cursor
        for chunk in bench.chunks(cursor):
            committed += chunk.events
    assert [(e.origin, e.topic, e.key, e.value) for e in committed] == [
        (e.origin, e.topic, e.key, e.value) for e in whole
    ]
    assert {str(fate.letter): fate for fate in bench.fates} == {str(fate.letter): fate for fate in fates}


@given_time
@given(BATCHES)
def test_another_operation_begins_anew_whatever_cursor_it_finds(batch: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Bench(batch, "hold", monkeypatch)
        cursor = None
        for chunk in bench.chunks(None, "op-1"):
            cursor = chunk.cursor
        first = sum(len(chunk.events) + sum((chunk.skipped or {}).values()) for chunk in bench.chunks(cursor, "op-2"))
        again = list(bench.chunks(cursor, "op-1"))
    assert first == len(batch)
    assert again == []
