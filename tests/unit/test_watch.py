"""The pace of an execution, and when it stands still."""

from __future__ import annotations

from redrive.partitions.copying import Copying
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Progress
from redrive.partitions.progress import Step
from redrive.partitions.survey import Survey
from redrive.partitions.watch import Watch

MOVES = {("t", number): Move("t", number, (1,), (2,), 100) for number in range(2)}


def survey(*steps: Step) -> Survey:
    return Survey(MOVES, {}, {}, dict(zip(MOVES, steps, strict=True)))


def see(watch: Watch, steps: Survey, copied: int, crawls: str = "") -> Progress:
    """Have it see so many of 200 bytes."""
    copying = Copying(MOVES, frozenset(), {}, {}, {}, copied, 200)
    return watch.see(steps, copying, waiting_for="", slowed_by="", crawls=crawls)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pace_and_time_left_come_from_what_this_run_has_copied() -> None:
    clock = Clock()
    watch = Watch(60, clock)
    clock.now = 5.0
    assert see(watch, survey(Step.DONE, Step.IN_FLIGHT), 100).seconds_left is None  # copied by a run before
    clock.now = 15.0
    progress = see(watch, survey(Step.DONE, Step.IN_FLIGHT), 120)
    assert (progress.per_second, progress.seconds_left) == (2.0, 40.0)
    assert progress.steps == {Step.DONE: 1, Step.IN_FLIGHT: 1}


def test_it_stands_still_if_neither_steps_nor_bytes_change_for_too_long() -> None:
    clock = Clock()
    watch = Watch(60, clock)
    for copied in (10, 20, 20):
        see(watch, survey(Step.IN_FLIGHT, Step.PENDING), copied)
        clock.now += 50
        assert not watch.stands_still or copied == 20
    clock.now += 20
    assert not watch.moved
    assert watch.stands_still
    see(watch, survey(Step.DONE, Step.PENDING), 20)
    assert not watch.stands_still


def test_what_moves_while_a_limit_holds_it_at_its_slowest_is_a_standstill_after_all() -> None:
    clock = Clock()
    watch = Watch(60, clock)
    for copied in range(4):
        see(watch, survey(Step.IN_FLIGHT, Step.PENDING), copied, "behind" if copied else "")
        assert not watch.stands_still
        clock.now += 20
    see(watch, survey(Step.DONE, Step.PENDING), 50, "behind")
    assert watch.stands_still
    assert watch.why_still == "a limit has held the throttle at its least for 60 s"
    see(watch, survey(Step.DONE, Step.PENDING), 51)
    assert not watch.stands_still


def test_it_gets_as_much_time_again_for_something_else() -> None:
    clock = Clock()
    watch = Watch(60, clock)
    clock.now = 61.0
    assert watch.stands_still
    watch.begin_anew()
    assert not watch.stands_still
