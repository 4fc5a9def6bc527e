"""A source and its copy are compared to the same result, whether both are read as columns or message by message."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from redrive.events import Event
from redrive.migrations import pairing, verifying
from redrive.migrations.pairing import ColumnPairs, Pair
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, Compacts, verify
from redrive.pump.names import OPERATION_HEADER, SOURCE_HEADER
from tests.columnar import BytesHeaders, Plain, records

UNIT = Unit("one", "orders", "orders.v2", 0)
BACK = Unit("one", "orders.v2", "orders", 0)
FEWEST = 20  # small topics are to be compared both ways
APPENDED = 2  # confluent-kafka's TIMESTAMP_LOG_APPEND_TIME


def brought(by: Unit, offset: int) -> BytesHeaders:
    return [(OPERATION_HEADER, b"op"), (SOURCE_HEADER, (by.origins % offset).encode())]


def copy_of(original: Plain) -> Plain:
    """Make the copy of an event, which finds its place later."""
    return replace(
        original, has_headers=[*original.has_headers, *brought(UNIT, original.at)], time=max(1, original.time)
    )


class Topics:
    """A source and a target.

    Attributes:
        together: of how many events the last comparison has compared values at once.
        pairs: what values it has compared.
    """

    def __init__(self, source: Sequence[Plain], target: Sequence[Plain]) -> None:
        self.logs = {UNIT.source: [*source], UNIT.target: [replace(each, at=at) for at, each in enumerate(target)]}
        self.upto = source[-1].at + 1 if source else 0
        self.together = 0
        self.pairs: list[Pair] = []

    def compared(self, sizes: Sequence[int], *, by_columns: bool, begin: int = 0, **how: Any) -> Checked:
        """Compare them, read in blocks of these sizes by turns; the target begins at an offset."""
        self.together, self.pairs = 0, []

        def blocks(topic: str, first: int, end: int, back: bytes) -> Iterator[Sequence[Any]]:
            left = [each for each in self.logs[topic] if first <= each.at < end]
            for size in cycle(sizes):
                if not left:
                    return
                yield records(left[:size], back) if by_columns else left[:size]
                left = left[size:]

        def scan_partition(_: Any, topic: str, __: int, first: int, end: int, **how: Any) -> Iterator[Any]:
            return blocks(topic, first, end, how.get("back", b""))

        def scan(_: Any, topic: str, start: Any = None, *, end: dict[int, int]) -> Iterator[Any]:
            return (self.logs[topic][at : at + 1] for at in range((start or {0: 0})[0], end[0]))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pairing, "FEWEST", FEWEST)
            patch.setattr(verifying, "scan_partition", scan_partition)
            patch.setattr(verifying, "scan", scan)
            patch.setattr(verifying, "start_offsets", lambda *_: [begin])
            patch.setattr(verifying, "end_offsets", lambda *_: [len(self.logs[UNIT.target])])
            found = verify({}, UNIT, self.upto, compare=self._compare, **{"parked": frozenset()} | how)
        return replace(found, seconds=0.0, findings=sorted(found.findings))

    def _compare(self, pairs: Sequence[Pair]) -> list[str]:
        if isinstance(pairs, ColumnPairs):
            self.together += len(pairs)
        self.pairs += pairs
        return ["" if before.value == after else "it differs" for before, after in pairs]


@st.composite
def sources(draw: st.DrawFn) -> list[Plain]:
    """Draw events, most of them usual, with gaps between their offsets."""
    gaps = draw(st.sets(st.integers(0, 150), max_size=5))
    events: list[Plain] = []
    at = draw(st.integers(0, 3))
    for number in range(draw(st.integers(0, 150))):
        at += 2 if number in gaps else 1
        events.append(Plain(at, b"k%d" % (number % 7), b"%d" % number, [("h", b"%d" % number)], 1000 + number))
    odd: list[Callable[[Plain], Plain]] = [
        lambda each: replace(each, has_key=None),
        lambda each: replace(each, has_value=None),
        lambda each: replace(each, time=0),
        lambda each: replace(each, kind=APPENDED),
        lambda each: replace(each, has_headers=[]),
        lambda each: replace(each, has_headers=[("h", None), ("h", b"")] * 10),
        lambda each: replace(each, has_headers=[("hä", b"1")]),
        lambda each: replace(each, has_headers=[(b"n\xff", b"1")]),
        lambda each: replace(each, has_headers=brought(BACK, 7)),
        lambda each: replace(each, has_headers=brought(Unit("one", "else", "orders", 0), 7)),
    ]
    for _ in range(draw(st.integers(0, 3)) if events else 0):
        place = draw(st.integers(0, len(events) - 1))
        events[place] = draw(st.sampled_from(odd))(events[place])
    return events


CHANGES: list[Callable[[Plain], Plain]] = [
    lambda each: replace(each, has_key=b"other"),
    lambda each: replace(each, has_key=None),
    lambda each: replace(each, has_value=b"other"),
    lambda each: replace(each, has_value=None),
    lambda each: replace(each, time=each.time + 1),
    lambda each: replace(each, time=each.time + 1, kind=APPENDED),
    lambda each: replace(each, has_headers=[("more", b"1"), *each.has_headers]),
    lambda each: replace(each, has_headers=each.has_headers[1:]),
    lambda each: replace(each, has_headers=each.has_headers[:-1]),
    lambda each: replace(each, has_headers=[]),
    lambda each: replace(each, has_headers=[*each.has_headers[:-2], ("other", b"op"), each.has_headers[-1]]),
    lambda each: replace(each, has_headers=[*each.has_headers[:-2], (OPERATION_HEADER, None), each.has_headers[-1]]),
    lambda each: replace(each, has_headers=[*each.has_headers[:-2], ("öp", b"op"), each.has_headers[-1]]),
    lambda each: replace(each, has_headers=[*each.has_headers[:-2], (b"n\xff", b"op"), each.has_headers[-1]]),
    lambda each: replace(each, has_headers=[*each.has_headers[:-1], (SOURCE_HEADER, None)]),
    lambda each: replace(each, has_headers=[*each.has_headers, ("last", b"1")]),
    lambda each: replace(each, has_headers=[*each.has_headers[:-1], ("other-source", each.has_headers[-1][1])]),
    lambda each: replace(each, has_headers=brought(replace(UNIT, partition=1), each.at)),
    lambda each: replace(each, has_headers=brought(UNIT, each.at + 1)),
]


@st.composite
def targets(draw: st.DrawFn, source: Sequence[Plain]) -> list[Plain]:
    """Draw copies, of which some are changed, taken out, put somewhere else or there twice."""
    copies = [copy_of(each) for each in source if [*each.has_headers][-1:] != brought(BACK, 7)[-1:]]
    for _ in range(draw(st.integers(0, 4)) if copies else 0):
        if not copies:
            break
        which, where = draw(st.integers(0, len(copies) - 1)), draw(st.integers(0, len(copies)))
        what = draw(st.sampled_from(["change"] * 5 + ["out", "again", "elsewhere", "foreign"]))
        if what == "change":
            change = draw(st.sampled_from(CHANGES))
            copies[which] = change(copies[which]) if len(copies[which].has_headers) > 1 else copies[which]
        elif what == "foreign":
            copies.insert(where, Plain(0))
        else:
            taken = copies[which] if what == "again" else copies.pop(which)
            copies[where:where] = [] if what == "out" else [taken]
    return copies


def told(pairs: Sequence[Pair]) -> list[Any]:
    def each(pair: Pair) -> Any:
        before: Event = pair[0]
        return int(before.origin.split("/")[-2]), repr(before), pair[1] or b""

    return sorted(map(each, pairs))


sizes = st.lists(st.sampled_from([1, 7, FEWEST, 50, 200]), min_size=1, max_size=4)


@settings(deadline=None, max_examples=300)
@given(
    data=st.data(), source=sources(), by_messages=sizes, by_columns=sizes, every=st.integers(1, 3),
    parked=st.frozensets(st.integers(0, 150), max_size=3), begin=st.sampled_from([0, 0, 0, 5]),
    compacts=st.sampled_from([Compacts()] * 4 + [Compacts(target=True), Compacts(source=True)]),
)  # fmt: skip
def test_columns_are_compared_to_what_messages_are(  # noqa: PLR0917 - hypothesis names them
    data: st.DataObject,
    source: list[Plain],
    by_messages: list[int],
    by_columns: list[int],
    every: int,
    parked: frozenset[int],
    begin: int,
    compacts: Compacts,
) -> None:
    target = data.draw(targets(source))
    gone = data.draw(st.integers(0, len(source) - 1)) if source and data.draw(st.booleans()) else None
    topics = Topics([each for number, each in enumerate(source) if number != gone], target)
    how: dict[str, Any] = {"every": every, "parked": parked, "begin": begin, "compacts": compacts}
    if target and data.draw(st.booleans()):
        how["since"] = data.draw(st.integers(0, topics.upto)), data.draw(st.integers(0, len(target)))
        how["follows"] = True
    if target and data.draw(st.booleans()):
        how["until"] = data.draw(st.integers(how.get("since", (0, 0))[1], len(target)))
    expected = topics.compared(by_messages, by_columns=False, **how)
    assert topics.together == 0
    pairs = topics.pairs
    assert topics.compared(by_columns, by_columns=True, **how) == expected
    assert told(topics.pairs) == told(pairs)
    event("many at once" if topics.together else "one by one")
    event("right" if not expected.findings else "something is wrong")


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_right_copy_is_compared_many_at_once(every: int) -> None:
    source = [Plain(at, time=at, has_headers=[("h", b"%d" % at)]) for at in range(150)]
    topics = Topics(source, [copy_of(each) for each in source])
    found = topics.compared([150], by_columns=True, every=every)
    assert (found.events, found.found, found.compared, found.findings) == (150, 150, 150 // every, [])
    assert topics.together == 150 // every


def test_what_is_wrong_in_the_midst_is_compared_alone_and_then_many_at_once_again() -> None:
    source = [Plain(at) for at in range(150)]
    copies = [copy_of(each) for each in source]
    copies[70] = replace(copies[70], has_key=b"other")
    topics = Topics(source, copies)
    found = topics.compared([150], by_columns=True)
    assert found.findings == ["orders/0@70: its copy has another key"]
    assert (found.found, found.compared) == (150, 150)
    assert topics.together == 150 - 1 - FEWEST
