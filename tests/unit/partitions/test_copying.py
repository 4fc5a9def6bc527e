"""What of its throttle each broker uses: by what has been copied, and where it has come from."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from redrive.partitions.copying import Copying, throttled, written
from redrive.partitions.following import IN_USE
from redrive.partitions.layout import Move
from redrive.partitions.state import Key

MB = 1_000_000
SECONDS = 10.0


def at(
    moves: list[Move],
    new: Mapping[int, Mapping[int, int]],
    *,
    done: tuple[int, ...] = (),
    led: Mapping[int, int] | None = None,
    leaders: Mapping[int, int] | None = None,
) -> Copying:
    """The moves at a moment; partitions of one topic, by their numbers."""

    def keys(numbers: Mapping[int, object]) -> dict[Key, object]:
        return {("orders", number): value for number, value in numbers.items()}

    led = {number: moves[number].size for number in new} if led is None else led
    leaders = {move.number: move.before[0] for move in moves} if leaders is None else leaders
    by_key = {("orders", move.number): move for move in moves}
    finished = frozenset(("orders", number) for number in done)
    return Copying(by_key, finished, keys(leaders), keys(led), keys(new), 0, 0)  # type: ignore[arg-type]


def test_one_hot_broker_is_seen_however_idle_the_others_are() -> None:
    moves = [Move("orders", number, (1, 2), (1, 3 + number), 1_000 * MB) for number in range(20)]
    then = at(moves, {number: {3 + number: 0} for number in range(20)})
    now = at(moves, {number: {3 + number: 50 * MB} for number in range(20)})
    used = throttled(then, now, SECONDS)
    assert used[1] == 100 * MB  # sends to all of them
    assert {used[3 + number] for number in range(20)} == {5 * MB}


def test_a_rate_that_no_broker_uses_is_not_in_use_however_much_they_copy_together() -> None:
    moves = [Move("orders", number, (number,), (100 + number,), 1_000 * MB) for number in range(50)]
    then = at(moves, {number: {100 + number: 0} for number in range(50)})
    now = at(moves, {number: {100 + number: 10 * MB} for number in range(50)})
    used = throttled(then, now, SECONDS)
    assert sum(used.values()) == 100 * MB  # of each byte, one half sends and the other receives
    assert max(used.values()) == 1 * MB < IN_USE * 10 * MB


def test_what_one_broker_receives_of_many_counts_as_much_as_what_one_sends_to_many() -> None:
    moves = [Move("orders", number, (number, 50), (number, 9), 1_000 * MB) for number in range(4)]
    then = at(moves, {number: {9: MB} for number in range(4)})
    now = at(moves, {number: {9: 6 * MB} for number in range(4)})
    assert throttled(then, now, SECONDS) == {9: 2 * MB, **dict.fromkeys(range(4), 0.5 * MB)}


def test_what_is_written_meanwhile_leaders_send_to_the_other_replicas_too() -> None:
    (move,) = moves = [Move("orders", 0, (1, 2, 3), (1, 2, 4), 100 * MB)]
    then, now = at(moves, {0: {4: 0}}), at(moves, {0: {4: 30 * MB}}, led={0: 110 * MB})
    assert written(then, now, SECONDS) == {("orders", 0): 1 * MB}
    assert throttled(then, now, SECONDS) == {1: (30 + 2 * 10) * MB / SECONDS, 4: 3 * MB}
    assert move.added == (4,)


def test_partitions_that_came_and_went_between_two_looks_count() -> None:
    moves = [Move("orders", number, (1,), (2,), 5 * MB) for number in range(8)]
    then = at(moves, {2: {2: 1 * MB}}, done=(0, 1))
    now = at(moves, {6: {2: 2 * MB}}, done=(0, 1, 2, 3, 4, 5))
    assert throttled(then, now, SECONDS)[2] == pytest.approx((4 + 3 * 5 + 2) * MB / SECONDS)


def test_who_leads_sends_and_not_who_should_lead() -> None:
    moves = [Move("orders", 0, (1, 2), (3, 2), 100 * MB)]
    then = at(moves, {0: {3: 0}}, leaders={0: 2})
    assert throttled(then, at(moves, {0: {3: 10 * MB}}, leaders={0: 2}), SECONDS) == {2: MB, 3: MB}


def test_orders_that_copy_nothing_and_logs_that_became_smaller_count_for_nothing() -> None:
    moves = [Move("orders", 0, (1, 2), (2, 1), 100 * MB), Move("orders", 1, (1,), (3,), 100 * MB)]
    then = at(moves, {1: {3: 50 * MB}}, led={1: 100 * MB})
    now = at(moves, {1: {3: 20 * MB}}, done=(0,), led={1: 60 * MB})
    assert set(throttled(then, now, SECONDS).values()) == {0.0}
    assert throttled(then, then, SECONDS) == {1: 0.0, 3: 0.0}
