"""What retention has taken of the open letters, and what it will take before when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redrive.deadletters.letter_id import Place
from redrive.deadletters.retention import Keeps, Loss, losses

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_MS = 86_400_000


def letter(offset: int, age: timedelta, partition: int = 0) -> Place:
    return Place("local", "flights", "dlq", partition, offset, round((NOW - age).timestamp() * 1000))


def loss(letters: list[Place], start: int = 0, retention_ms: int = 7 * DAY_MS) -> Loss:
    (found,) = losses(letters, {("local", "dlq", 0): Keeps(start, retention_ms)}, NOW, [DAY, 3 * DAY])
    return found


def test_letters_before_the_start_of_the_log_are_lost() -> None:
    found = loss([letter(8, 9 * DAY), letter(9, 8 * DAY), letter(10, DAY)], start=10)
    assert (found.lost, found.letters) == (2, 1)


def test_a_letter_can_go_when_the_retention_has_passed_since_its_timestamp() -> None:
    found = loss([letter(1, 5 * DAY), letter(0, 6.5 * DAY)])
    assert found.first_at == NOW + DAY / 2
    assert found.due == (1, 2)


def test_a_letter_whose_time_comes_just_at_a_horizon_does_not_go_before_it() -> None:
    assert loss([letter(0, 6 * DAY)]).due == (0, 1)


def test_a_letter_that_is_over_its_time_but_still_there_is_due() -> None:
    found = loss([letter(0, 8 * DAY)])
    assert (found.lost, found.letters, found.due, found.first_at) == (0, 1, (1, 1), NOW - DAY)


def test_a_topic_that_keeps_for_ever_loses_nothing() -> None:
    found = loss([letter(0, 5000 * DAY)], retention_ms=-1)
    assert (found.letters, found.first_at, found.due) == (1, None, (0, 0))


def test_a_retention_of_ages_is_as_good_as_for_ever() -> None:
    assert loss([letter(0, DAY)], retention_ms=2**63 - 1).first_at is None


def test_all_letters_of_a_partition_that_is_no_more_are_lost() -> None:
    assert losses([letter(5, DAY)], {}, NOW, [DAY]) == [Loss("local", "dlq", 0, 0, 1, None, (0,))]


def test_partitions_are_told_one_by_one_in_order() -> None:
    keeps = {("local", "dlq", number): Keeps(0, DAY_MS) for number in (0, 1)}
    found = losses([letter(0, DAY / 2, 1), letter(0, DAY / 4, 0), letter(1, DAY / 8, 1)], keeps, NOW, [DAY])
    assert [(each.partition, each.letters, each.due) for each in found] == [(0, 1, (1,)), (1, 2, (2,))]
