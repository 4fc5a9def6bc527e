"""What an execution decides, on a cluster of paper: it copies by looks, and answers or not as the test has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redrive.errors import ThrottleTooLowError, UnavailableError
from redrive.ledger import Ledger
from redrive.partitions import execution as execution_module
from redrive.partitions import following
from redrive.partitions.execution import Execution
from redrive.partitions.following import FollowingThrottle
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Progress
from redrive.partitions.progress import Step
from redrive.partitions.settling import NEEDED
from redrive.partitions.state import Key, LogDirs, Resource
from redrive.partitions.strain import Strain
from redrive.partitions.throttle import Throttle
from redrive.partitions.throttle_settings import FOLLOWER_RATE, FOLLOWER_REPLICAS
from redrive.partitions.watch import Watch
from redrive.partitions.waves import Limits
from tests.unit.partitions.on_paper import Paper, debt

MB = 1_000_000
FIRST, SECOND = Move("first", 0, (1, 2), (3, 2), 10), Move("second", 0, (1, 2), (3, 2), 100)


class Gauge:
    """Shows what the test says; None: it does not answer."""

    load: float | None = 0.1

    def read(self) -> Strain:
        if self.load is None:
            raise UnavailableError("group billing", "no answer")
        return Strain(self.load, f"load {self.load}")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield ledger


def by_looks(monkeypatch: pytest.MonkeyPatch, paper: Paper) -> None:
    """Have patience counted by looks."""
    monkeypatch.setattr(execution_module, "Watch", partial(Watch, clock=paper.clock))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SAMPLE": 0.0, "LAST_PATIENCE": 0.3}.items():
        monkeypatch.setattr(execution_module, name, value)
    monkeypatch.setattr("redrive.partitions.reading_back.NEWS", 0.1)
    monkeypatch.setattr(following, "EVERY", 0.02)


def executes(ledger: Ledger, paper: Paper, limits: Limits, **given: Any) -> Execution:
    operation = ledger.begin("partition-rebalance", "run", cluster="east", resources=["east"], who="x", parameters={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution_module, "FollowingThrottle", partial(FollowingThrottle, clock=paper.clock))
        return Execution(paper, ledger.debts, operation, rate=50 * MB, limits=limits, **given)


def test_a_measure_that_can_t_be_had_lets_nothing_begin_and_what_is_under_way_is_seen_and_slowed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "EVERY", 0.2)
    third = Move("third", 0, (1, 2), (3, 2), 5)
    paper, gauge, silent = Paper(FIRST, SECOND, third), Gauge(), list[tuple[float, Progress]]()

    by_looks(monkeypatch, paper)

    def report(progress: Progress) -> None:
        if "group billing" in progress.waiting_for:
            silent.append((paper.clock(), progress))
        if progress.steps.get(Step.IN_FLIGHT):
            gauge.load = 0.1 if silent and silent[-1][0] - silent[0][0] > 2 * limits.patience else None

    limits = Limits(per_broker=2, patience=0.3, poll=0.001)
    result = executes(ledger, paper, limits, gauges=[gauge], report=report).run([FIRST, SECOND, third])
    (begun, first), (ended, last) = silent[0], silent[-1]
    assert ended - begun > limits.patience
    assert first.steps == last.steps == {Step.DONE: 1, Step.IN_FLIGHT: 1, Step.PENDING: 1}
    assert last.copied > first.copied
    assert "group billing" in last.slowed_by
    assert not result.stopped
    assert set(paper.replicas.values()) == {(3, 2)}


def test_moves_that_a_limit_keeps_at_the_slowest_rate_end_when_patience_does_and_are_taken_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper, gauge = Paper(SECOND), Gauge()
    by_looks(monkeypatch, paper)
    paper.sizes["second", 0] = 1_000_000  # copied without end
    limits = Limits(patience=0.3, poll=0.001)

    def report(progress: Progress) -> None:
        if progress.steps.get(Step.IN_FLIGHT):
            gauge.load = 2.0

    execution = executes(ledger, paper, limits, gauges=[gauge], report=report)
    result = execution.run([SECOND], cancel_in_flight=True)
    assert result.stopped == "a limit has held the throttle at its least for 0.3 s: load 2.0"
    assert execution.rate == following.SLOWEST
    assert paper.replicas == {("second", 0): (1, 2)}
    assert not paper.under_way
    assert not paper.set


def test_what_has_arrived_is_throttled_no_longer_while_the_last_moves_go_on_nor_when_leaders_are_elected(
    ledger: Ledger,
) -> None:
    paper, seen = Paper(FIRST, SECOND), list[tuple[int, set[str]]]()

    def report(progress: Progress) -> None:
        seen.append((progress.steps.get(Step.DONE, 0), paper.listed()))

    executes(ledger, paper, Limits(poll=0.001), report=report).run([FIRST, SECOND])
    assert {done: listed for done, listed in seen if done} == {1: {"second"}, 2: set()}
    assert all(listed == {"second"} for done, listed in seen if done == 1)
    assert paper.listed_at_elections
    assert not any(paper.listed_at_elections)


def test_a_broker_that_does_not_take_a_rate_leaves_the_throttle_at_the_one_before(ledger: Ledger) -> None:
    paper = Paper(FIRST)
    operation = ledger.begin("partition-rebalance", "run", cluster="east", resources=["east"], who="x", parameters={})
    throttle = Throttle(paper, ledger.debts, operation, 50 * MB)
    throttle.cover([FIRST])
    paper.silent.add(Resource("broker", "3"))
    with pytest.raises(UnavailableError):
        throttle.change(20 * MB)
    assert throttle.rate == 50 * MB
    paper.silent.clear()
    throttle.cover([FIRST])
    assert {paper.set[Resource("broker", str(id_)), FOLLOWER_RATE] for id_ in (1, 2, 3)} == {str(50 * MB)}


def test_a_debt_of_an_earlier_run_that_can_t_be_paid_is_told_and_spoils_nothing(ledger: Ledger) -> None:
    paper = Paper(FIRST)
    paper.down.add(4)
    debt(ledger, paper, "4")
    result = executes(ledger, paper, Limits(poll=0.001)).run([FIRST])
    assert result.proved, result.evidence()
    assert result.owed_before == ("broker 4 does not answer",)


def test_a_debt_of_its_own_that_can_t_be_paid_is_owed_but_no_reason_to_go_back(ledger: Ledger) -> None:
    paper = Paper(FIRST)

    def report(progress: Progress) -> None:
        if progress.steps.get(Step.DONE):
            paper.down.add(1)  # which has a throttle, and holds nothing any more

    result = executes(ledger, paper, Limits(poll=0.001), report=report).run([FIRST])
    assert result.owed == ("broker 1 does not answer",)
    assert (result.complete, result.proved) == (True, False)


def test_replicas_get_the_limits_patience_to_be_in_sync_and_the_wait_is_told(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_module, "LAST_PATIENCE", 0.01)
    paper, seen = Paper(FIRST), list[str]()

    def report(progress: Progress) -> None:
        seen.append(progress.waiting_for)
        if progress.steps.get(Step.DONE) and len(seen) < 100:
            paper.down.add(2)
        if sum(bool(words) for words in seen) > 10:
            paper.down.clear()

    result = executes(ledger, paper, Limits(poll=0.01), report=report).run([FIRST])
    assert result.proved, result.evidence()
    assert "replicas of 1 partitions to be in sync" in seen


def test_a_cluster_that_is_silent_after_the_moves_is_waited_for_too(ledger: Ledger) -> None:
    class Silent(Paper):
        failures = 0

        def elect_preferred(self, partitions: Iterable[Key]) -> dict[Key, str]:
            return self._fails() or super().elect_preferred(partitions)

        def configure(self, changes: Mapping[Resource, Mapping[str, str | None]]) -> dict[Any, Any]:
            if self.leaders and self.failures < 4:
                self._fails()
            return super().configure(changes)

        def _fails(self) -> dict[Key, str]:
            if self.failures < 4 and not (self.failures == 2 and not self.leaders):
                self.failures += 1
                raise UnavailableError("cluster east", "no answer")
            return {}

    paper = Silent(FIRST)
    assert executes(ledger, paper, Limits(poll=0.001)).run([FIRST]).proved
    assert paper.failures == 4


def test_it_says_that_it_begins_only_once_nothing_refuses_it_and_before_anything_is_ordered(ledger: Ledger) -> None:
    paper, begun = Paper(FIRST), list[bool]()
    given: dict[str, Any] = {"begins": lambda: begun.append(bool(paper.under_way or paper.set))}
    execution = executes(ledger, paper, Limits(poll=0.001), **given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("redrive.partitions.inflow.measure", lambda *_: {("first", 0): 1e9})
        with pytest.raises(ThrottleTooLowError):
            execution.run([FIRST])
    assert begun == []
    execution.run([FIRST])
    assert begun == [False]


def test_what_can_t_be_released_now_is_told_once_in_the_log(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    paper = Paper(FIRST, SECOND)

    def report(progress: Progress) -> None:
        if progress.steps.get(Step.IN_FLIGHT):
            paper.silent = {Resource("broker", "3")} if paper.looks < 60 else set()

    executes(ledger, paper, Limits(poll=0.001), report=report).run([FIRST, SECOND])
    told = [record.message for record in caplog.records if "throttled still" in record.message]
    assert len(told) == 1


def dies_over(ledger: Ledger, paper: Paper, move: Move, rate: int) -> None:
    """A run that orders a move, throttled, and is killed."""
    dead = ledger.begin("partition-rebalance", "run", cluster="east", resources=["east"], who="x", parameters={})
    Throttle(paper, ledger.debts, dead, rate).cover([move])
    paper.reassign({(move.topic, move.number): move.after})


@pytest.mark.parametrize("topic", ["big", "other"])
def test_what_a_dead_run_has_under_way_stays_throttled_whatever_else_is_moved(ledger: Ledger, topic: str) -> None:
    left, other = Move("big", 0, (1, 2), (3, 2), 10_000), Move(topic, 1, (1, 2), (4, 2), 5)
    paper, listed = Paper(left, other), list[str | None]()
    dies_over(ledger, paper, left, 1 * MB)

    def report(_: Progress) -> None:
        listed.append(paper.set.get((Resource("topic", "big"), FOLLOWER_REPLICAS)))

    result = executes(ledger, paper, Limits(poll=0.001), report=report).run([other])
    assert result.outcomes[topic, 1].step is Step.DONE
    assert ("big", 0) in paper.under_way
    assert all("0:3" in str(value).split(",") for value in listed)
    assert paper.set[Resource("topic", "big"), FOLLOWER_REPLICAS].split(",")[0] == "0:3"
    assert (Resource("broker", "3"), FOLLOWER_RATE) in paper.set
    assert {"big", "1", "2", "3"} <= {row.name for row in ledger.debts.owed()}
    assert any(NEEDED in why for why in (*result.owed, *result.owed_before))
    gone_on = executes(ledger, paper, Limits(poll=0.0))
    paper.sizes["big", 0] = 3
    assert gone_on.run([left]).proved
    assert (ledger.debts.owed(), paper.set) == ([], {})


def test_a_throttle_of_a_dead_run_goes_where_somebody_else_has_sent_its_partition_elsewhere(ledger: Ledger) -> None:
    left, other = Move("big", 0, (1, 2), (3, 2), 10_000), Move("other", 0, (1, 2), (3, 2), 5)
    paper = Paper(left, other)
    dies_over(ledger, paper, left, 1 * MB)
    paper.reassign({("big", 0): (4, 2)})
    assert executes(ledger, paper, Limits(poll=0.001)).run([other]).proved
    assert (ledger.debts.owed(), paper.set) == ([], {})


def test_a_broker_that_has_no_room_any_more_gets_nothing_and_the_others_get_what_is_theirs(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small, other = (Move("t", at_, (1, 2), after, 60) for at_, after in enumerate([(3, 2), (4, 2), (1, 4)]))
    paper, told = Paper(large, small, other), list[str]()
    by_looks(monkeypatch, paper)
    paper.disks = {3: LogDirs({("x", 0): 900}, 1_100, 100)}  # of 1,000 that it can have, 50 stay free
    limits = Limits(patience=3.0, poll=0.001)
    execution = executes(ledger, paper, limits, report=lambda progress: told.append(progress.waiting_for))
    result = execution.run([large, small, other])
    words = "broker 3 has room for 50 bytes more, and t/0 has 60"
    assert [result.outcomes["t", at_].step for at_ in range(3)] == [Step.PENDING, Step.DONE, Step.DONE]
    assert result.stopped == f"nothing has moved for 3 s: {words}"
    assert words in told
    paper.disks = {3: LogDirs({("x", 0): 900}, 1_100, 150)}
    assert executes(ledger, paper, limits).run([large, small, other]).proved


def test_a_broker_that_does_not_tell_its_disks_gets_nothing_until_it_does(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper, told = Paper(FIRST), list[str]()
    by_looks(monkeypatch, paper)
    paper.disks = {3: LogDirs(unknown="no answer in 1 s")}

    def report(progress: Progress) -> None:
        told.append(progress.waiting_for)
        assert not (paper.disks and paper.under_way)
        if len(told) == 5:
            paper.disks.clear()

    assert executes(ledger, paper, Limits(poll=0.001), report=report).run([FIRST]).proved
    assert told[:5] == ["broker 3 does not tell what its disks hold: no answer in 1 s"] * 5


def test_a_way_back_goes_faster_than_was_asked_for_where_producers_write_more_by_now(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper, gauge, flow, begun = Paper(FIRST, SECOND), Gauge(), [1.0], list[int | None]()
    by_looks(monkeypatch, paper)
    monkeypatch.setattr("redrive.partitions.inflow.measure", lambda _, keys, __: dict.fromkeys(keys, flow[0]))

    def report(progress: Progress) -> None:
        gauge.load = 2.0 if progress.steps.get(Step.DONE) else 0.1

    limits = Limits(per_broker=1, patience=0.3, poll=0.001)
    given: dict[str, Any] = {"gauges": [gauge], "report": report, "begins": lambda: begun.append(execution.rate)}
    execution = executes(ledger, paper, limits, **given)
    result = execution.run([FIRST, SECOND], cancel_in_flight=True)
    assert [outcome.step for outcome in result.outcomes.values()] == [Step.DONE, Step.PENDING]
    flow[0], gauge.load = 40 * MB, 0.1
    monkeypatch.setattr(gauge, "read", lambda: Strain(0.1, ""))
    back = execution.roll_back([FIRST, SECOND])
    assert back.proved, back.evidence()
    assert set(paper.replicas.values()) == {(1, 2)}
    assert begun == [50 * MB, 88_000_001]
    assert execution.following is not None
    assert execution.following.risen
    assert execution.following.rates is not None
    assert execution.following.rates[1] == 88_000_001


OTHER = Move("other", 0, (4, 2), (2, 4), 10)
"""A partition that is there, and is not moved."""


def waits(ledger: Ledger, paper: Paper, **given: Any) -> list[str]:
    """Carry FIRST and SECOND out one after the other; broker 4 dies under way. All is well after three looks."""
    waited = list[str]()
    paper.set[Resource("topic", "other"), "min.insync.replicas"] = "2"

    def report(progress: Progress) -> None:
        if progress.steps.get(Step.IN_FLIGHT) and not waited:
            paper.down.add(4)
        if progress.steps.get(Step.PENDING) and progress.waiting_for:
            waited.append(progress.waiting_for)
            assert ("second", 0) not in paper.under_way
        if len(waited) == 3:
            paper.down.clear()
            paper.leaderless.clear()

    result = executes(ledger, paper, Limits(per_broker=1, poll=0.001), report=report, **given).run([FIRST, SECOND])
    assert result.complete, result.evidence()
    return list(dict.fromkeys(waited))


def test_no_wave_begins_while_any_partition_is_newly_under_min_isr(ledger: Ledger) -> None:
    assert waits(ledger, Paper(FIRST, SECOND, OTHER)) == ["other/0 is under min ISR"]


def test_no_wave_begins_while_any_partition_is_without_a_leader(ledger: Ledger) -> None:
    paper = Paper(FIRST, SECOND, OTHER)
    paper.leaderless.add(("other", 0))
    assert waits(ledger, paper)[0] == "other/0 is without a leader"


def test_what_was_under_min_isr_before_moves_began_keeps_nothing_from_beginning(ledger: Ledger) -> None:
    paper = Paper(FIRST, SECOND, OTHER)
    paper.down.add(4)
    assert waits(ledger, paper) == []


def test_what_has_come_under_min_isr_since_an_earlier_process_began_is_waited_for(ledger: Ledger) -> None:
    paper = Paper(FIRST, SECOND, OTHER)
    paper.down.add(4)
    assert waits(ledger, paper, under_min_isr=()) == ["other/0 is under min ISR"]
    paper = Paper(FIRST, SECOND, OTHER)
    paper.down.add(4)
    assert waits(ledger, paper, under_min_isr=[("other", 0)]) == []


def test_a_way_back_is_begun_however_the_cluster_has_become_meanwhile(ledger: Ledger) -> None:
    paper = Paper(FIRST, OTHER)
    paper.set[Resource("topic", "other"), "min.insync.replicas"] = "2"
    execution = executes(ledger, paper, Limits(poll=0.001), under_min_isr=())
    assert execution.run([FIRST]).proved
    paper.down.add(4)
    assert execution.roll_back([FIRST]).complete
    assert paper.replicas["first", 0] == (1, 2)
