"""Where samples are taken, and what counts as what."""

from __future__ import annotations

from itertools import pairwise

import pytest

from redrive.migrations.census import RANGE, Count, _Tally, spread


@pytest.mark.parametrize(
    ("start", "end", "sample", "ranges"),
    [
        (0, 0, None, []),
        (7, 7, 3, []),
        (5, 9_000, None, [(5, 9_000)]),
        (5, 2_005, 2, [(5, 2_005)]),
        (0, 9_000, 1, [(8_000, 9_000)]),
        (10, 9_010, 3, [(10, 1_010), (4_010, 5_010), (8_010, 9_010)]),
    ],
)
def test_samples_lie_evenly_and_hold_the_first_and_the_last_offsets(
    start: int, end: int, sample: int | None, ranges: list[tuple[int, int]]
) -> None:
    assert spread(start, end, sample) == ranges


@pytest.mark.parametrize("sample", range(1, 40))
def test_samples_never_overlap(sample: int) -> None:
    ranges = spread(3, 40_000, sample)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    assert sum(end - start for start, end in ranges) == min(sample * RANGE, 40_000 - 3)


def test_an_event_counts_by_the_beginning_of_its_value() -> None:
    tally = _Tally(2)
    tally.add([(0, b"\0\0\0\0\7"), (0, b"\0\0\0\0\7"), (1, b"\0\0\0\1\0"), (1, None), (1, b""), (1, b"\0\0\0\0")])
    tally.add([(1, b"{json"), (0, b"\0\0\0\0\7")])
    assert tally.count(0) == Count({7: 3})
    assert tally.count(1) == Count({256: 1}, unframed=3, tombstones=1)
    assert tally.count(1).events == 5


def test_bytes_that_look_like_any_number_of_ids_take_bounded_memory() -> None:
    tally = _Tally(1)
    tally.add([(0, b"\0" + number.to_bytes(4, "big")) for number in range(30_000)])
    count = tally.count(0)
    assert (len(count.ids), count.unframed, count.events) == (10_000, 20_000, 30_000)
