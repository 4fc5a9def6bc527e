"""What holds moves, and how their pace changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redrive.errors import ThrottleTooLowError, UnavailableError
from redrive.ledger import Ledger, Operation
from redrive.ledger.holds import TTL
from tasks.pace import PaceControl
from tasks.partition_rebalance.pace import MovesPace


class Rates:
    """Takes rates as an execution does: not too low ones."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    @property
    def rate(self) -> int:
        return self.asked[-1]

    def change_rate(self, rate: int) -> None:
        if rate < 1_000_000:
            raise ThrottleTooLowError(rate, 1, 1e6, 1_000_000)
        self.asked.append(rate)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{tmp_path}/ledger.db")


def begin(ledger: Ledger, job: str, resource: str) -> Operation:
    operation = ledger.begin(job, "run", cluster="east", resources=[resource], who="x", parameters={})
    ledger.claim([resource], operation)
    return operation


def test_jobs_on_topics_of_the_cluster_go_first_and_others_do_not(ledger: Ledger) -> None:
    mine = begin(ledger, "partition-rebalance", "east/:settings")
    pace = MovesPace(ledger, "east", mine.id, 50)
    begin(ledger, "standby-replay", "west/orders")
    begin(ledger, "broker-scaling", "east/:fleet")  # it waits for these moves
    assert pace.held_by() == ""
    replay = begin(ledger, "standby-replay", "east/orders")
    assert pace.held_by() == f"standby-replay {replay.id[:8]} works at east/orders, and goes first"
    replay.finish("done")
    assert pace.held_by() == ""


def test_a_job_that_shows_no_sign_of_life_holds_nothing(ledger: Ledger) -> None:
    now = 100.0
    mine = begin(ledger, "partition-rebalance", "east/:settings")
    pace = MovesPace(ledger, "east", mine.id, 50, clock=lambda: now)
    replay = begin(ledger, "standby-replay", "east/orders")
    assert pace.held_by()
    now += TTL - 1
    assert pace.held_by()
    now += 1
    assert pace.held_by() == ""
    replay.heartbeat()
    assert pace.held_by()


def test_a_pause_holds_until_whoever_paused_resumes(ledger: Ledger) -> None:
    pace = MovesPace(ledger, "east", "mine", 50)
    pace.pause("peak hour", "pace")
    assert pace.held_by() == "peak hour"
    pace.resume("pace")
    assert pace.held_by() == ""


def test_a_rate_is_passed_on_and_one_that_is_refused_is_told_and_not_taken(ledger: Ledger) -> None:
    pace, rates = MovesPace(ledger, "east", "mine", 50), Rates()
    pace.steer(rates)  # type: ignore[arg-type]
    pace.rate = 20
    assert (rates.asked, pace.rate, pace.complaint) == ([20_000_000], 20, "")
    pace.rate = 0.5
    assert (pace.rate, "can't converge" in pace.complaint) == (20, True)
    pace.rate = None
    assert (pace.rate, "only its rate can change" in pace.complaint) == (20, True)


def test_of_a_throttle_that_follows_limits_a_rate_is_the_most_and_may_be_set_where_none_was(ledger: Ledger) -> None:
    pace, rates = MovesPace(ledger, "east", "mine", None, follows=True), Rates()
    assert pace.told() == "none"
    pace.steer(rates)  # type: ignore[arg-type]
    pace.rate = 12.5
    assert (rates.asked, pace.rate, pace.complaint) == ([12_500_000], 12.5, "")
    assert pace.told() == "12.5 MB/s per broker, as limits allow"


def test_a_throttle_that_limits_keep_lower_than_asked_for_says_so(ledger: Ledger) -> None:
    pace, rates = MovesPace(ledger, "east", "mine", 50), Rates()
    pace.steer(rates)  # type: ignore[arg-type]
    pace.rate = 20
    assert pace.told() == "20 MB/s per broker"
    rates.asked.append(10_240_000)
    assert pace.told() == "10.24 of 20 MB/s per broker, as limits allow"


def test_a_run_without_a_throttle_gets_none_in_mid_run(ledger: Ledger) -> None:
    pace, rates = MovesPace(ledger, "east", "mine", None), Rates()
    pace.steer(rates)  # type: ignore[arg-type]
    pace.rate = 20
    assert (rates.asked, pace.rate, "only its rate can change" in pace.complaint) == ([], None, True)


class Variable:
    """Stands for Prefect: the variable has what somebody has set."""

    def __init__(self, **value: object) -> None:
        self.value = value

    def read_variable_by_name(self, _: str) -> Variable:
        return self


def test_a_rate_that_the_cluster_does_not_take_is_asked_for_until_it_does_and_only_then_told(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.pace.LOOK_EVERY", 0.0)

    class Silent(Rates):
        failures = 3

        def change_rate(self, rate: int) -> None:
            if self.failures:
                self.failures -= 1
                raise UnavailableError("broker 3", "no answer")
            super().change_rate(rate)

    steer, rates, told = MovesPace(ledger, "east", "mine", 50.0), Silent(), list[str]()
    steer.steer(rates)  # type: ignore[arg-type]
    control = PaceControl("partition-rebalance", "mine", steer, 50.0, lambda pace: told.append(str(pace.rate)))
    variable: Any = Variable(rate=10.0, paused=False)
    control.look(variable)
    assert (told, control.changes, steer.complaint) == ([], [], "broker 3 is unavailable: no answer")
    for _ in range(5):
        control.look(variable)
    assert (rates.asked, told, steer.complaint) == ([10_000_000], ["10.0"], "")
    assert [change.pace.rate for change in control.changes] == [10.0]
