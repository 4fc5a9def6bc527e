"""Columns of events are these events to whoever asks: summed up, cut, joined with others, held against limits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrive.columnar.events import EventColumns, Joined
from redrive.events import Event, Headers
from redrive.pump.evidence import Evidence, Tally
from redrive.pump.limits import Limits, refusals, topics_of
from tests.columnar import event_columns

HOUR = 3_600_000
ORIGINS = ["backfill/one/orders/orders.v2/3/events/%d/0", "%d", "o" * 250 + "/%d/0", "o" * 70_000 + "/%d"]
SIZES = [0, 1, 31, 32, 255, 256, 65_535, 65_536, 70_000]

contents = st.none() | st.binary(max_size=6) | st.sampled_from(SIZES).map(lambda size: b"x" * size)
names = st.text(max_size=4) | st.sampled_from(SIZES).map(lambda size: "n" * size) | st.just("ä" * 16)
headers: st.SearchStrategy[Headers] = st.lists(st.tuples(names, contents), max_size=3) | st.sampled_from(
    [0, 15, 16, 20]
).map(lambda count: [(f"h{number}", b"") for number in range(count)])
times = st.integers(-1, 30).map(lambda hours: time.time_ns() // 1_000_000 - hours * HOUR) | st.integers(0, 2**45)


@st.composite
def columns(draw: st.DrawFn, topic: str = "orders", max_size: int = 12) -> tuple[list[Event], EventColumns]:
    """Draw events, and columns of them."""
    origins, partition = draw(st.sampled_from(ORIGINS)), draw(st.integers(0, 5))
    events = [
        Event(
            origins % offset, topic, draw(contents), draw(contents), draw(headers), draw(times), partition,
            origins % offset,
        )
        for offset in sorted(draw(st.sets(st.integers(0, 20) | st.integers(0, 2**62), max_size=max_size)))
    ]  # fmt: skip
    return events, event_columns(events, topic, partition, origins)


@st.composite
def joined(draw: st.DrawFn) -> tuple[list[Event], Joined]:
    """Draw events, and the same of which some are columns."""
    events: list[Event] = []
    together = Joined([*events])
    for _ in range(draw(st.integers(0, 4))):
        some, same = draw(columns(draw(st.sampled_from(["orders", "parked"])), max_size=4))
        events += some
        together.add(draw(st.sampled_from([some, same])))
    return events, together


def tallied(*parts: Sequence[Event]) -> tuple[int, dict[str, Evidence]]:
    tally = Tally()
    for part in parts:
        tally.add(part)
    return tally.size, tally.topics()


def nothing(_: object) -> None: ...


limits = st.builds(
    Limits,
    size=st.sampled_from([0, 1, 100, 70_000, 1 << 62]),
    age=st.sampled_from([10 * HOUR + HOUR // 2, 1 << 62]),
    ahead=st.sampled_from([HOUR // 2, 1 << 62]),
    keyed=st.booleans(),
    partitions=st.sampled_from([3, 1 << 62]),
)


@settings(deadline=None)
@given(columns())
def test_columns_are_the_events_that_they_are_of(drawn: tuple[list[Event], EventColumns]) -> None:
    events, same = drawn
    assert [*same] == events
    assert (len(same), bool(same)) == (len(events), bool(events))
    assert [same[place] for place in range(-len(events), len(events))] == events * 2
    assert [*reversed(same)] == events[::-1]
    with pytest.raises(IndexError):
        nothing(same[len(events)])


@settings(deadline=None)
@given(columns(), st.slices(12))
def test_columns_sum_up_to_what_their_events_do(drawn: tuple[list[Event], EventColumns], part: slice) -> None:
    events, same = drawn
    assert tallied(same, same) == tallied(events, events)
    assert tallied(same[part], events) == tallied(events[part], events)


@settings(deadline=None)
@given(columns(), st.slices(12), st.slices(12))
def test_parts_of_columns_are_those_of_a_list(
    drawn: tuple[list[Event], EventColumns], first: slice, second: slice
) -> None:
    events, same = drawn
    assert isinstance(same[first], EventColumns)
    assert [*same[first]] == events[first]
    assert [*same[first][second]] == events[first][second]


@settings(deadline=None)
@given(joined(), st.integers(0, 20), st.integers(0, 20))
def test_columns_among_lists_are_one_sequence(drawn: tuple[list[Event], Joined], first: int, last: int) -> None:
    events, same = drawn
    assert [*same] == [same[place] for place in range(len(same))] == events
    assert [*same[first:last]] == events[first:last]
    assert [*same[-first:]] == events[-first:]
    assert topics_of(same) == {event.topic for event in events}
    assert tallied(*same.parts) == tallied(events)
    with pytest.raises(IndexError):
        nothing(same[len(events)])


@settings(deadline=None)
@given(columns() | joined(), limits, limits)
def test_the_same_is_refused_of_columns_as_of_their_events(
    drawn: tuple[list[Event], EventColumns | Joined], orders: Limits, parked: Limits
) -> None:
    events, same = drawn
    by_topic = {"orders": orders, "parked": parked}
    topics = topics_of(events)
    assert refusals(same, by_topic, topics) == refusals(events, by_topic, topics)


def test_columns_of_several_lengths_are_none() -> None:
    same = event_columns([Event("7", "t", None, None, [], 1, 0, "7")], "t", 0, "%d")
    with pytest.raises(ValueError, match="some columns have 0 events, some 1"):
        replace(same, keys=same.keys.part(slice(0, 0)))
