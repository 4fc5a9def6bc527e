"""A throttle that follows: what it does with the room that it finds, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from redrive.errors import ThrottleTooLowError, UnavailableError
from redrive.partitions.convergence import require_convergence
from redrive.partitions.copying import Copying
from redrive.partitions.following import EVERY, SLOWEST, FollowingThrottle, next_rate
from redrive.partitions.layout import Move
from redrive.partitions.strain import Gauge, Strain, over_limit
from redrive.partitions.throttle import Throttle

MB = 1_000_000


class Fixed:
    """A gauge that shows what the test says."""

    def __init__(self, load: float) -> None:
        self.load = load

    def read(self) -> Strain:
        return Strain(self.load, f"load {self.load}")


class Rates(Throttle):
    """Sets no rate anywhere, and refuses those below what is needed, as a throttle does."""

    def __init__(self, rate: int, least: int) -> None:
        self.rate, self._least = rate, least

    @property
    def least(self) -> int:
        return self._least

    def require_convergence(self, needs: Mapping[int, float]) -> None:
        require_convergence(self.rate, needs)

    def change(self, rate: int, *, by_hand: bool = True) -> None:
        if rate < self._least:
            raise ThrottleTooLowError(rate, 1, self._least, self._least)
        self.rate = rate


MOVE = Move("orders", 0, (1,), (2,), 10_000 * MB)


class Looks:
    """A throttle that follows, and one partition that is copied as fast as it lets through."""

    def __init__(self, throttle: Throttle, gauges: Sequence[Gauge], *, fixed: bool = False) -> None:
        self._now, self._copied, self._led, self._throttle = 0.0, 0, MOVE.size, throttle
        self.following = FollowingThrottle(throttle, gauges, fixed=fixed, clock=lambda: self._now)

    def look(self, after: float = 0.0, written: float = 0.0) -> None:
        """Look, so many seconds after the last time; bytes a second that producers have written since."""
        self._now += after
        self._copied += round(after * self._throttle.rate)
        self._led += round(after * written)
        new = {("orders", 0): {2: self._copied}}
        led = {("orders", 0): self._led}
        now = Copying({("orders", 0): MOVE}, frozenset(), {("orders", 0): 1}, led, new, self._copied, MOVE.size)
        self.following.look(now)


@pytest.mark.parametrize(
    ("load", "used", "expected"),
    [
        (0.2, 10 * MB, 12_500_000),
        (0.2, 1 * MB, 10 * MB),  # the rate holds nothing back
        (0.6, 10 * MB, 10 * MB),
        (0.9, 10 * MB, 8 * MB),
        (1.1, 10 * MB, 5_120_000),
        (float("inf"), 0, 5_120_000),
    ],
)
def test_a_rate_goes_up_with_room_that_is_needed_and_down_near_a_limit(load: float, used: float, expected: int) -> None:
    assert next_rate(10 * MB, load, used, least=1, most=None) == expected


def test_a_rate_stays_where_moves_get_to_their_end_and_below_what_a_person_has_set() -> None:
    assert next_rate(10 * MB, 2, 0, least=9 * MB, most=None) == 9 * MB
    assert next_rate(10 * MB, 0, 10 * MB, least=1, most=11 * MB) == 11 * MB
    assert next_rate(10 * MB, 0, 10 * MB, least=12 * MB, most=11 * MB) == 12 * MB


def test_it_decides_by_the_worst_gauge_once_in_a_while_and_comes_back_when_that_is_well_again() -> None:
    throttle, lag, latency = Rates(10 * MB, 4 * MB), Fixed(0.1), Fixed(0.1)
    looks, rates = Looks(throttle, [lag, latency]), []
    looks.look()
    for load in (0.1, 0.1, 1.5, 1.5, 1.5, 0.1):
        lag.load = load
        looks.look(EVERY / 2)  # too early
        looks.look(EVERY / 2)
        rates.append(throttle.rate / MB)
    assert rates == pytest.approx([12.5, 15.625, 8, 4.096, 4, 5])
    assert looks.following.rates == (4 * MB, 15_625_000)


def test_a_fixed_rate_is_lower_only_while_a_limit_is_exceeded_and_comes_back_by_steps_to_what_was_asked_for() -> None:
    throttle, lag = Rates(10 * MB, 3 * MB), Fixed(0.9)
    looks, seen = Looks(throttle, [lag], fixed=True), []
    looks.look()
    for load in (0.9, 1.5, 1.5, 1.5, 0.9, 0.7, 0.1, *[0.1] * 5):
        lag.load = load
        looks.look(EVERY)
        seen.append((round(throttle.rate / MB, 2), looks.following.slowed_by))
    assert seen[:7] == [
        (10, ""),  # near, and no reason to be slower than somebody wants it
        (5.12, "load 1.5"),
        (3, "load 1.5"),  # at which it still gets to its end
        (3, "load 1.5"),
        (3, "load 0.9 again, still near it"),
        (3.75, "load 0.7 again, and it goes up by steps"),
        (4.69, "load 0.1 again, and it goes up by steps"),
    ]
    assert seen[-1] == (10, "")
    assert looks.following.rates == (3 * MB, 10 * MB)


def test_it_does_not_go_so_low_that_nothing_that_is_written_by_now_would_ever_arrive() -> None:
    throttle, lag = Rates(10 * MB, 1), Fixed(2.0)  # nothing was written when it began
    looks = Looks(throttle, [lag], fixed=True)
    looks.look()
    for _ in range(20):
        looks.look(EVERY, written=2 * MB)
    assert throttle.rate == pytest.approx(2.2 * MB, rel=0.001)
    for _ in range(20):
        looks.look(EVERY)
    assert throttle.rate == SLOWEST


def test_a_fixed_rate_that_a_person_changes_holds_at_once_and_while_it_is_lowered_from_when_limits_allow() -> None:
    throttle, lag = Rates(10 * MB, 1), Fixed(0.1)
    looks = Looks(throttle, [lag], fixed=True)
    looks.following.limit(20 * MB)
    assert throttle.rate == 20 * MB
    lag.load = 1.5
    looks.look()
    looks.look(EVERY)
    assert throttle.rate == 10_240_000
    looks.following.limit(12 * MB)
    assert throttle.rate == 10_240_000
    looks.following.limit(8 * MB)
    assert throttle.rate == 8 * MB
    lag.load = 0.1
    looks.look(EVERY)
    assert (throttle.rate, looks.following.slowed_by) == (8 * MB, "")


def test_what_begins_anew_begins_at_the_rate_that_was_asked_for() -> None:
    throttle, lag = Rates(10 * MB, 1), Fixed(1.5)
    looks = Looks(throttle, [lag], fixed=True)
    looks.look()
    looks.look(EVERY)
    assert throttle.rate < 10 * MB
    with pytest.raises(ThrottleTooLowError):
        looks.following.begin({1: 10 * MB})
    looks.following.begin({1: 9 * MB})  # which the lowered rate would not do for
    assert (throttle.rate, looks.following.slowed_by) == (10 * MB, "")


def test_what_a_person_sets_is_the_most_and_is_refused_where_moves_would_never_end() -> None:
    throttle = Rates(10 * MB, 4 * MB)
    following = FollowingThrottle(throttle, [])
    with pytest.raises(ThrottleTooLowError):
        following.limit(3 * MB)
    assert (throttle.rate, following.most) == (10 * MB, None)
    following.limit(5 * MB)
    assert (throttle.rate, following.most) == (5 * MB, 5 * MB)
    following.limit(50 * MB)  # there is not room for as much, by all that is known
    assert (throttle.rate, following.most) == (5 * MB, 50 * MB)


def test_it_crawls_from_when_a_limit_has_brought_it_to_its_least_until_the_limit_holds_for_two_looks() -> None:
    throttle, lag = Rates(10 * MB, 4 * MB), Fixed(1.5)
    looks, seen = Looks(throttle, [lag], fixed=True), []
    looks.look()
    for load in (1.5, 1.5, 0.9, 0.7, 1.5, 0.7, 0.7, 1.5):
        lag.load = load
        looks.look(EVERY)
        seen.append(looks.following.crawls)
    assert seen == ["", "load 1.5", "load 0.9", "load 0.7", "load 1.5", "load 0.7", "", "load 1.5"]


def test_one_that_is_not_fixed_crawls_as_long_as_it_has_no_reason_to_come_up() -> None:
    throttle, lag = Rates(5 * MB, 4 * MB), Fixed(0.6)
    looks, seen = Looks(throttle, [lag]), []
    looks.look()
    for load in (0.6, 0.9, 0.6, 0.6, 0.1, 0.1):
        lag.load = load
        looks.look(EVERY)
        seen.append(looks.following.crawls)
    assert seen == ["", "load 0.9", "load 0.6", "load 0.6", "load 0.1", ""]


def test_what_was_asked_for_is_no_crawling_however_little() -> None:
    looks = Looks(Rates(SLOWEST // 2, 1), [Fixed(1.5)], fixed=True)
    looks.look()
    looks.look(EVERY)
    assert (looks.following.crawls, looks.following.slowed_by) == ("", "")


def test_a_fixed_rate_that_has_become_too_low_stays_and_is_told_and_no_other_that_is_gets_set() -> None:
    throttle = Rates(10 * MB, 1)
    looks = Looks(throttle, [], fixed=True)
    looks.look()
    looks.look(EVERY, written=5 * MB)
    assert looks.following.too_low == ""
    looks.look(EVERY, written=20 * MB)
    too_low = "at 10.00 MB/s moves never end, by what is written now: it takes at least 22.01 MB/s"
    assert (throttle.rate, looks.following.too_low, looks.following.slowed_by) == (10 * MB, too_low, "")
    with pytest.raises(ThrottleTooLowError):
        looks.following.limit(21 * MB)
    assert (throttle.rate, looks.following.too_low) == (10 * MB, too_low)
    looks.following.limit(23 * MB)
    assert (throttle.rate, looks.following.too_low) == (23 * MB, "")


def test_one_that_is_not_fixed_says_what_it_is_near() -> None:
    looks = Looks(Rates(10 * MB, 1), [Fixed(0.9)])
    looks.look()
    looks.look(EVERY)
    assert looks.following.slowed_by == "load 0.9, near it"


def test_what_is_over_its_limit_is_told_and_nothing_else() -> None:
    assert not over_limit([Fixed(0.9), Fixed(1.0)])
    assert over_limit([Fixed(1.1), Fixed(0.9), Fixed(2)]) == "load 1.1; load 2"


class Silent:
    """A gauge of something that does not answer."""

    def read(self) -> Strain:
        raise UnavailableError("group billing", "no answer")


def test_a_measure_that_can_not_be_had_is_taken_for_one_over_its_limit_and_hides_no_other() -> None:
    throttle = Rates(10 * MB, 1)
    looks = Looks(throttle, [Silent(), Fixed(0.1)])
    looks.look()
    looks.look(EVERY)
    assert throttle.rate == 5_120_000
    assert "group billing" in looks.following.slowed_by
    assert "group billing" in over_limit([Fixed(0.1), Silent()])
