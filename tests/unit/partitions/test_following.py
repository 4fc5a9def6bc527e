"""A throttle that follows: what it does with the room that it finds, on a clock of the test's own."""

from __future__ import annotations

import pytest

from redrive.errors import ThrottleTooLowError, UnavailableError
from redrive.partitions.following import EVERY, FollowingThrottle, next_rate
from redrive.partitions.strain import Strain, over_limit
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

    def change(self, rate: int, *, by_hand: bool = True) -> None:
        if rate < self._least:
            raise ThrottleTooLowError(rate, 1, self._least, self._least)
        self.rate = rate


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
    now, throttle, lag, latency = 0.0, Rates(10 * MB, 4 * MB), Fixed(0.1), Fixed(0.1)
    following = FollowingThrottle(throttle, [lag, latency], clock=lambda: now)
    rates, copied = [], 0
    for load in (0.1, 0.1, 0.1, 1.5, 1.5, 1.5, 0.1):
        lag.load = load
        following.look(copied)
        now += EVERY / 2
        following.look(copied)  # too early
        now += EVERY / 2
        copied += round(EVERY * throttle.rate)
        rates.append(throttle.rate / MB)
    assert rates == pytest.approx([10, 12.5, 15.625, 8, 4.096, 4, 5])
    assert following.rates == (4 * MB, 15_625_000)


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


def test_what_is_over_its_limit_is_told_and_nothing_else() -> None:
    assert not over_limit([Fixed(0.9), Fixed(1.0)])
    assert over_limit([Fixed(1.1), Fixed(0.9), Fixed(2)]) == "load 1.1; load 2"


class Silent:
    """A gauge of something that does not answer."""

    def read(self) -> Strain:
        raise UnavailableError("group billing", "no answer")


def test_a_measure_that_can_not_be_had_is_taken_for_one_over_its_limit_and_hides_no_other() -> None:
    now = [0.0]
    throttle = Rates(10 * MB, 1)
    following = FollowingThrottle(throttle, [Silent(), Fixed(0.1)], clock=lambda: now[0])
    following.look(0)
    now[0] += EVERY
    following.look(100 * MB)
    assert throttle.rate == 5_120_000
