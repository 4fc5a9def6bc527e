"""A partition that is compared by pieces: whatever is wrong with its copy is found, wherever it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrive.migrations import verifying
from redrive.migrations.pairing import Pair
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, verify

UNIT = Unit("one", "orders", "orders.v2", 0)
FOREIGN = -1


class Record:
    """An event of the source; or the target's copy of one, or somebody's own event there."""

    def __init__(self, offset: int, copy_of: int | None = None) -> None:
        self._offset = offset
        self._value = b"%d" % (offset if copy_of is None else copy_of)
        origin = (UNIT.origins % (copy_of or 0)).encode()
        is_copy = copy_of not in {None, FOREIGN}
        self._headers = [("redrive-operation", b"op"), ("redrive-source", origin)] if is_copy else []

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return self._value

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000


def compare(pairs: Sequence[Pair]) -> list[str]:
    return ["" if event.value == after else "it differs" for event, after in pairs]


class Topics:
    """A source with so many events, and a target with copies of these, in this order."""

    def __init__(self, events: int, copies: Sequence[int]) -> None:
        self.events, self.copies = events, copies
        self._logs: dict[str, list[Any]] = {
            UNIT.source: [Record(offset) for offset in range(events)],
            UNIT.target: [Record(offset, copy) for offset, copy in enumerate(copies)],
        }

    def _scan(self, _: Any, topic: str, __: int, first: int, end: int, **___: Any) -> Iterator[list[Any]]:
        yield self._logs[topic][first:end]

    def compared(self, cuts: Sequence[int] = (), places: Sequence[int] = ()) -> Checked:
        """Compare them, cut at these offsets of the source and of the target."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verifying, "scan_partition", self._scan)
            patch.setattr(verifying, "start_offsets", lambda *_: [0])
            patch.setattr(verifying, "end_offsets", lambda *_: [len(self.copies)])
            begins = [(0, 0), *zip(cuts, places, strict=True)]
            ends = zip([*cuts, self.events], [*places, None], strict=True)
            return Checked.of_pieces(
                [
                    verify(
                        {}, UNIT, upto, parked=frozenset(), compare=compare,
                        since=since, follows=since != (0, 0), until=until,
                    )
                    for since, (upto, until) in zip(begins, ends, strict=True)
                ]
            )  # fmt: skip


@st.composite
def cut(draw: st.DrawFn, most: int) -> list[int]:
    return sorted(draw(st.sets(st.integers(1, max(1, most)), max_size=3)))


@st.composite
def spoiled(draw: st.DrawFn, events: int) -> list[int]:
    """Draw a target: copies in order, of which some are taken out, put somewhere else or there twice."""
    copies = list(range(events))
    for _ in range(draw(st.integers(0, 2))):
        which, where = draw(st.integers(0, events)), draw(st.integers(0, events))
        what = draw(st.sampled_from(["out", "again", "elsewhere", "foreign"]))
        if what in {"out", "elsewhere"} and copies:
            del copies[which % len(copies)]
        if what in {"again", "elsewhere"}:
            copies.insert(where, which % events)
        if what == "foreign":
            copies.insert(where, FOREIGN)
    return copies


@given(data=st.data(), events=st.integers(2, 5))
def test_whatever_is_wrong_is_found_wherever_the_two_are_cut(data: st.DataObject, events: int) -> None:
    topics = Topics(events, data.draw(spoiled(events)))
    cuts = data.draw(cut(events - 1))
    places = sorted(data.draw(st.integers(0, len(topics.copies))) for _ in cuts)
    whole, pieces = topics.compared(), topics.compared(cuts, places)
    assert pieces.findings or not whole.findings
    assert pieces.foreign == whole.foreign


@given(data=st.data(), events=st.integers(1, 12), foreign=st.lists(st.integers(0, 12), max_size=3))
def test_nothing_is_wrong_with_pieces_if_nothing_is_with_the_whole(
    data: st.DataObject, events: int, foreign: list[int]
) -> None:
    copies = list(range(events))
    for place in foreign:
        copies.insert(place, FOREIGN)
    cuts = data.draw(cut(events - 1))
    places = [copies.index(each) if each < events else len(copies) for each in cuts]
    topics = Topics(events, copies)
    whole, pieces = topics.compared(), topics.compared(cuts, places)
    assert (pieces.findings, pieces.events, pieces.found, pieces.compared) == ([], events, events, events)
    assert (whole.findings, whole.foreign) == ([], pieces.foreign)


def test_a_copy_of_a_later_piece_has_no_place_in_the_one_before() -> None:
    assert Topics(4, [0, 1, 3, 2, 3]).compared([2], [3]).findings == ["orders.v2-0@2: orders/0@3 too early"]


def test_a_copy_of_an_earlier_piece_has_no_place_in_the_one_behind() -> None:
    assert Topics(4, [0, 1, 0, 2, 3]).compared([2], [2]).findings == ["orders.v2-0@2: orders/0@0 again, or too late"]
