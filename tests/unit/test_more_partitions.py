"""A source that gets more partitions while it is copied: what comes to them is nowhere else, so nobody may move."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from redrive.errors import PartitionsChangedError
from redrive.migrations import ends as ends_of_copies
from redrive.migrations.ends import Ends
from tasks.schema_backfill import comparing
from tests.unit.topics_in_memory import SOURCE, TARGET, Log, Topics, copy_of


class Source:
    """A source with this many partitions, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.partitions, self.now, self.asked = 2, 0.0, 0
        monkeypatch.setattr(ends_of_copies, "end_offsets", lambda *_, **__: [100] * self.partitions)
        monkeypatch.setattr(ends_of_copies, "partition_count", self.count)

    def count(self, *_: object) -> int:
        self.asked += 1
        return self.partitions

    def ends(self, follow: float = 0.0) -> Ends:
        return Ends({}, "orders", 2, follow=follow, clock=lambda: self.now)


@pytest.mark.parametrize("follow", [0.0, 3600.0], ids=["up to its end as of now", "followed"])
def test_they_are_noticed_within_seconds_while_it_is_copied(monkeypatch: pytest.MonkeyPatch, follow: float) -> None:
    source = Source(monkeypatch)
    ends = source.ends(follow)
    ends.of(0)
    source.partitions, source.now = 3, 5.0
    with pytest.raises(PartitionsChangedError, match="has 3 partitions now"):
        ends.of(0)


def test_they_are_not_counted_more_often_than_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(monkeypatch)
    ends = source.ends()
    assert ends.answered_at is None
    for source.now in (0.0, 1.0, 5.0, 5.1, 9.9, 10.0):
        assert ends.of(1) == 100
    assert (source.asked, ends.answered_at) == (2, 10.0)


def test_they_are_noticed_when_all_has_been_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "partition_count", lambda *_: 3)
    work: Any = SimpleNamespace(client={}, source="orders", standings=[None, None])
    with pytest.raises(PartitionsChangedError, match="had 2 when"):
        comparing.count_partitions.fn(work)


def test_a_group_with_a_place_in_one_that_the_target_lacks_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = Topics().use(monkeypatch)
    topics.logs = {SOURCE: Log({0: None}), TARGET: Log({0: copy_of(0)})}
    with topics.crossing(SOURCE, TARGET, {0: 1}, {}) as places:
        assert places.place(0, 1) == (1, "")
        assert "partition 2: orders.v2 has no such partition" in places.place(2, 7)[1]
