"""Where a consumer goes on in the other topic, in cases that take long to make, and how much is read for that."""

from __future__ import annotations

import pytest

from redrive.errors import StoppedError
from tests.unit.topics_in_memory import SOURCE, TARGET, Log, Topics, copy_of


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    return Topics().use(monkeypatch)


def test_a_group_does_not_go_back_to_what_the_source_s_retention_has_deleted(topics: Topics) -> None:
    topics.logs = {
        SOURCE: Log(dict.fromkeys(range(50, 60)), low=50),
        TARGET: Log({offset: copy_of(offset) for offset in range(60)}),
    }
    with topics.crossing(TARGET, SOURCE, {}, {0: 60}) as places:
        assert f"in {SOURCE} at 10, whose retention has deleted all before 50" in places.place(0, 10)[1]
        assert places.place(0, 50) == (50, "")


@pytest.mark.parametrize("at", [10, 15, 20], ids=["before them", "among them", "behind them"])
def test_a_group_does_not_go_back_before_what_others_have_published_was_fed_back(topics: Topics, at: int) -> None:
    topics.logs = {
        SOURCE: Log(dict.fromkeys(range(10))),
        TARGET: Log({offset: copy_of(offset) if offset < 10 else None for offset in range(20)}),
    }
    with topics.crossing(TARGET, SOURCE, {}, {0: 10}) as places:
        assert "has never been copied to orders: do that first (goal feed_back" in places.place(0, at)[1]


def test_a_group_goes_back_to_a_source_that_nothing_had_to_be_fed_back_to(topics: Topics) -> None:
    topics.logs = {
        SOURCE: Log(dict.fromkeys(range(10))),
        TARGET: Log({offset: copy_of(offset) for offset in range(10)}),
    }
    with topics.crossing(TARGET, SOURCE, {}, {0: 10}) as places:
        assert [places.place(0, at) for at in (0, 4, 10)] == [(0, ""), (4, ""), (10, "")]


def test_what_was_looked_at_before_producers_store_is_not_read_again(topics: Topics) -> None:
    """A topic goes forth again, after it had been gone to, and come back from: most of the target is its own."""
    own = 20_000
    there: dict[int, str | None] = {offset: copy_of(offset) for offset in range(100)}
    there |= dict.fromkeys(range(100, 100 + own))
    here: dict[int, str | None] = dict.fromkeys(range(100))
    here |= {offset: copy_of(offset, TARGET, SOURCE) for offset in range(100, 100 + own)}
    end = 100 + own
    topics.logs = {SOURCE: Log(here), TARGET: Log(there)}
    with topics.crossing(SOURCE, TARGET, {0: end}, {0: end}) as places:
        assert places.place(0, end) == (end, "")
        assert topics.read > own / 2

        topics.read = 0
        for offset in range(end, end + 5):  # what has come meanwhile, of which two are not copied as yet
            here[offset] = None
            there |= {offset: copy_of(offset)} if offset < end + 3 else {}
        places.renew({0: end + 3}, {0: end})
        assert places.place(0, end + 3) == (end + 3, "")
        assert places.place(0, end + 1) == (end + 1, "")
        assert topics.read < 50


def test_a_look_at_a_whole_topic_ends_when_it_is_told_to(topics: Topics) -> None:
    def cancelled() -> None:
        raise StoppedError("cancelled")

    topics.logs = {SOURCE: Log(dict.fromkeys(range(10))), TARGET: Log(dict.fromkeys(range(10)))}
    with topics.crossing(SOURCE, TARGET, {0: 10}, {}, check=cancelled) as places, pytest.raises(StoppedError):
        places.place(0, 10)
