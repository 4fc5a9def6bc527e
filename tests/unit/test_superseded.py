"""What a compacted topic may lack of a replay, and what it may not."""

from __future__ import annotations

import pytest

from redrive.standby.superseded import Newest, Record, is_superseded

LAST = Newest({"a": "unit/1.a/2/0", "b": "unit/1.b/1/3"}, accepted=1_000)


@pytest.mark.parametrize(
    ("record", "superseded"),
    [
        (Record("unit/1.a/2/0", 900), True),  # the newest of a stream is there
        (Record("unit/1.a/1/0", 900), False),  # only an older one is: nothing has superseded the newest
        (Record("", 1_001), True),  # somebody has published a newer one since
        (Record("", 999), False),  # what was there before can not have superseded anything
        (None, False),
    ],
)
def test_the_newest_event_of_a_key_or_a_later_one_has_to_be_there(record: Record | None, superseded: bool) -> None:
    assert is_superseded(LAST, record) is superseded


def test_a_tombstone_may_have_been_taken_with_all_that_it_deletes() -> None:
    assert is_superseded(Newest({"a": "unit/1.a/2/0"}, 1_000, deletion=True), None)
