"""What is remembered of a partner's events, and for how long."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable

import pytest

from redrive.gateway.problems import Problem, invalid_event, unacknowledged, unavailable
from redrive.gateway.recent import RecentEvents


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(steps: Callable[[RecentEvents, Clock], None], most: int = 10) -> None:
    async def inside() -> None:
        clock = Clock()
        steps(RecentEvents(most, 60, clock), clock)

    asyncio.run(inside())


def test_who_comes_again_waits_for_the_same_outcome_and_publishes_nothing() -> None:
    def steps(recent: RecentEvents, _: Clock) -> None:
        first, publishes = recent.claim("a", b"1")
        again, publishes_too = recent.claim("a", b"1")
        assert (publishes, publishes_too) == (True, False)
        recent.settle("a", first, None)
        assert again.done()
        assert recent.claim("a", b"1")[0].result() is None

    run(steps)


def test_another_content_is_refused_while_an_event_is_under_way_and_after_it_was_accepted() -> None:
    def steps(recent: RecentEvents, _: Clock) -> None:
        outcome, _is_new = recent.claim("a", b"1")
        with pytest.raises(Problem):
            recent.claim("a", b"2")
        recent.settle("a", outcome, None)
        with pytest.raises(Problem) as refused:
            recent.claim("a", b"2")
        assert refused.value.status == 409

    run(steps)


@pytest.mark.parametrize("problem", [invalid_event("x", "y"), unavailable("away")])
def test_what_was_refused_leaves_its_id_free(problem: Problem) -> None:
    def steps(recent: RecentEvents, _: Clock) -> None:
        outcome, _is_new = recent.claim("a", b"1")
        recent.settle("a", outcome, problem)
        assert outcome.result() is problem
        assert recent.claim("a", b"2")[1]

    run(steps)


def test_what_may_be_in_kafka_is_published_again_if_it_comes_again_and_its_id_stays_taken() -> None:
    def steps(recent: RecentEvents, _: Clock) -> None:
        outcome, _is_new = recent.claim("a", b"1")
        recent.settle("a", outcome, unacknowledged())
        with pytest.raises(Problem):
            recent.claim("a", b"2")
        assert recent.claim("a", b"1")[1]

    run(steps)


def test_memory_is_bounded_in_number_and_in_time() -> None:
    def steps(recent: RecentEvents, clock: Clock) -> None:
        for number in range(11):
            recent.claim(str(number), b"1")
        assert recent.claim("10", b"1")[1] is False
        assert recent.claim("0", b"1")[1] is True
        clock.now = 61
        assert recent.claim("10", b"1")[1] is True

    run(steps)


def test_a_long_id_takes_no_more_memory_than_a_short_one() -> None:
    def taken(length: int) -> int:
        sizes: list[int] = []

        def steps(recent: RecentEvents, _: Clock) -> None:
            tracemalloc.start()
            for number in range(200):
                event_id = f"{number}" + "😀" * length
                recent.settle(event_id, recent.claim(event_id, b"1")[0], None)
            sizes.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()

        run(steps, most=1_000)
        return sizes[0]

    assert taken(2_000) < taken(1) + 200 * 2_000  # they are of 8,000 bytes each; other threads may allocate, too
