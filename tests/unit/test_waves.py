"""How many moves are under way at a time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from redrive.partitions.layout import Move
from redrive.partitions.waves import Limits, brokers_of, next_wave

REPLICAS = st.lists(st.integers(1, 8), min_size=2, max_size=3, unique=True).map(tuple)
MOVES = st.lists(st.tuples(REPLICAS, REPLICAS), max_size=40).map(
    lambda pairs: [Move("t", number, before, after) for number, (before, after) in enumerate(pairs)]
)


def test_who_sends_who_gets_and_who_gives_up_is_loaded() -> None:
    assert brokers_of(Move("t", 0, (1, 2, 3), (1, 2, 4))) == {1, 3, 4}


@given(MOVES, st.integers(1, 4), st.integers(1, 10))
def test_no_broker_and_not_the_whole_is_ever_over_its_limit(moves: list[Move], per_broker: int, total: int) -> None:
    limits = Limits(per_broker=per_broker, total=total)
    first = next_wave(moves, [], limits)
    more = next_wave([move for move in moves if move not in first], first[1:], limits)
    under_way = [*first[1:], *more]
    load = Counter(broker for move in under_way for broker in brokers_of(move))
    assert len(under_way) <= total
    assert max(load.values(), default=0) <= per_broker


@given(MOVES, st.integers(1, 4), st.integers(1, 10))
def test_every_move_gets_its_turn(moves: list[Move], per_broker: int, total: int) -> None:
    left, rounds = list(moves), 0
    while left:
        wave = next_wave(left, [], Limits(per_broker=per_broker, total=total))
        assert wave[0] == left[0]
        left = [move for move in left if move not in wave]
        rounds += 1
    assert rounds <= len(moves)


def test_what_does_not_fit_keeps_nobody_behind_it_from_beginning() -> None:
    busy = Move("t", 0, (1, 2), (3, 2))
    same, other = Move("t", 1, (1, 2), (3, 2)), Move("t", 2, (4, 5), (6, 5))
    assert next_wave([same, other], [busy], Limits(per_broker=1)) == [other]
