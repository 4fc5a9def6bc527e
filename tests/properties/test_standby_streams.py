"""What streams promise whoever reads them: nothing lost or doubled wherever it is cut, no stream's order changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import redrive.standby.batches
import redrive.standby.streams
from redrive.standby.batches import Stored, pack, unpack
from redrive.standby.log import SEAL
from redrive.standby.store import Slot
from redrive.standby.streams import GapError, Position, StreamReader, merge

headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3)
events = st.builds(
    Stored,
    id=st.text(max_size=9),
    key=st.none() | st.binary(max_size=5),
    value=st.none() | st.binary(max_size=200),
    headers=headers,
    accepted=st.integers(0, 2**53),
    partition=st.none() | st.integers(0, 99),
    doubtful=st.booleans(),
)


class Table:
    """Streams in memory, one slot a page: all of `Store` that reading needs."""

    def __init__(self, streams: dict[str, list[Slot]]) -> None:
        self.streams = {pk: dict(enumerate(slots, 1)) for pk, slots in streams.items()}

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        for number in sorted(self.streams[pk]):
            if number > after:
                yield number, self.streams[pk][number]


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, dict[str, list[Stored]]]:
    """Draw streams of several producers, each with times that never fall, in batches cut in parts, sealed."""
    streams: dict[str, list[Slot]] = {}
    contents: dict[str, list[Stored]] = {}
    for producer in draw(st.sets(st.sampled_from("ABC"), min_size=1)):
        times = sorted(draw(st.lists(st.integers(0, 20), max_size=8)))
        content = [Stored(f"{producer}{i}", b"k", b"v" * 40, [], time) for i, time in enumerate(times)]
        slots: list[Slot] = []
        start = 0
        while start < len(content):
            size = draw(st.integers(1, 3))
            slots += pack(content[start : start + size], f"{producer}{start}")
            start += size
            if draw(st.booleans()):  # a producer was stopped between two parts, and its stream sealed there
                slots += pack([Stored("lost", b"k", b"v" * 400, [], 0)], f"{producer}lost{start}")[:-1]
        streams[producer] = [*slots, Slot(SEAL, "seal")]
        contents[producer] = content
    return Table(streams), contents


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive.standby.batches, "ITEM_BYTES", 25)
    monkeypatch.setattr(redrive.standby.streams, "GROUP_EVENTS", 3)


def readers(table: Table, positions: dict[str, Position], horizon: int | None) -> list[StreamReader]:
    return [
        StreamReader(table, pk, pk, positions.get(pk, Position()), horizon=horizon, checked=0)  # type: ignore[arg-type]
        for pk in table.streams
    ]


@given(st.lists(events, min_size=1, max_size=5), st.integers(9, 300))
def test_what_is_packed_comes_out_whole_in_however_many_parts(batch: Sequence[Stored], item_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redrive.standby.batches, "ITEM_BYTES", item_bytes)
        slots = pack(batch, "token")
    assert all(len(slot.data) <= item_bytes for slot in slots)
    assert [slot.kind for slot in slots] == ["part"] * (len(slots) - 1) + ["events"]
    ((number, last, found),) = unpack(enumerate(slots, 1))
    assert (number, last, found) == (len(slots), slots[-1], list(batch))
    assert last.doubtful == sum(event.doubtful for event in batch)


@given(tables(), st.lists(st.integers(0, 22), max_size=3), st.lists(st.integers(1, 4), max_size=6))
def test_rounds_cut_and_resumed_anywhere_publish_each_event_once_in_its_streams_order(
    drawn: tuple[Table, dict[str, list[Stored]]], horizons: list[int], crashes: list[int]
) -> None:
    table, contents = drawn
    positions: dict[str, Position] = {}
    published: list[tuple[str, Stored]] = []
    crashes = list(crashes)
    for horizon in [*sorted(horizons), None]:
        while True:
            stop = crashes.pop() if crashes else 0  # groups until the next crash
            reading = readers(table, positions, horizon)
            crashed = False
            for i, group in enumerate(merge(reading), 1):
                for taken in group:
                    published += [(taken.producer, event) for event in taken.events]
                    if horizon is not None:
                        assert all(event.accepted < horizon for event in taken.events)
                cursor = msgspec.msgpack.encode({reader.producer: reader.position for reader in reading})
                positions = msgspec.msgpack.decode(cursor, type=dict[str, Position])
                if i == stop:
                    crashed = True
                    break
            if not crashed:
                break
    for producer, content in contents.items():
        assert [event for name, event in published if name == producer] == content
    assert all(position.ended for position in positions.values())


@given(tables())
def test_several_streams_are_merged_by_the_time_of_acceptance(drawn: tuple[Table, dict[str, list[Stored]]]) -> None:
    table, _ = drawn
    groups = list(merge(readers(table, {}, None)))
    times = [event.accepted for group in groups for taken in group for event in taken.events]
    assert times == sorted(times)
    assert all(sum(len(taken.events) for taken in group) <= 3 for group in groups)


@given(tables(), st.data())
def test_a_slot_that_is_missing_is_noticed(drawn: tuple[Table, dict[str, list[Stored]]], data: st.DataObject) -> None:
    table, _ = drawn
    pk = data.draw(st.sampled_from(sorted(table.streams)))
    del table.streams[pk][data.draw(st.integers(1, len(table.streams[pk])))]
    if not table.streams[pk] or max(table.streams[pk]) == len(table.streams[pk]):
        return  # the end is missing: no gap, the stream is only not sealed
    with pytest.raises(GapError) as caught:
        list(merge(readers(table, {}, None)))
    assert caught.value.stream == pk
