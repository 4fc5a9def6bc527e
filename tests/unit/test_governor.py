"""The governor: a rate that can be changed in mid-run, holds with reasons, stop, protections that act by themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from redrive.errors import StoppedError
from redrive.pump.governor import Governor


def _in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException], list[float]]:
    raised: list[BaseException] = []
    ended: list[float] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)
        ended.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised, ended


def _wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def test_unset_lets_everything_through_at_once():
    governor = Governor()
    began = time.monotonic()
    for _ in range(10_000):
        governor.admit(1_000_000)
    assert time.monotonic() - began < 10
    assert governor.share(1.0) == float("inf")


def test_keeps_the_rate_over_time():
    governor = Governor(rate=10_000)
    began = time.monotonic()
    for _ in range(10):
        governor.admit(500)
    took = time.monotonic() - began
    # The last 500 are let through and not waited for.
    assert 0.44 <= took < 3


def test_shares_one_rate_among_all_units():
    governor = Governor(rate=10_000)
    began = time.monotonic()
    units = [_in_thread(lambda: [governor.admit(250) for _ in range(5)])[0] for _ in range(4)]
    for unit in units:
        unit.join()
    assert 0.44 <= time.monotonic() - began < 3


def test_idle_time_is_not_saved_up():
    """After a quiet second, no burst follows."""
    now = [0.0]
    governor = Governor(rate=100, clock=lambda: now[0])
    governor.admit(10)
    now[0] = 60.0
    governor.admit(10)
    _, _, ended = _in_thread(lambda: governor.admit(1))
    time.sleep(0.05)
    assert not ended
    now[0] = 60.2
    _wait_until(lambda: bool(ended))


def test_a_higher_rate_reaches_those_that_wait_at_once():
    governor = Governor(rate=1)
    governor.admit(1000)
    thread, _, ended = _in_thread(lambda: governor.admit(1))
    time.sleep(0.1)
    changed = time.monotonic()
    governor.rate = 1_000_000
    thread.join(5)
    assert ended[0] - changed < 10  # at the first rate: 1,000 s


def test_full_speed_again_reaches_those_that_wait():
    governor = Governor(rate=1)
    governor.admit(1000)
    thread, _, _ = _in_thread(lambda: governor.admit(1))
    governor.rate = None
    thread.join(1)
    assert not thread.is_alive()


def test_a_lower_rate_does_not_charge_for_what_went_through_before():
    now = [0.0]
    governor = Governor(rate=100_000, clock=lambda: now[0])
    governor.admit(100_000)  # one second's worth
    governor.rate = 10
    now[0] = 1.01
    thread, _, _ = _in_thread(lambda: governor.admit(1))
    thread.join(2)
    assert not thread.is_alive()


@pytest.mark.parametrize("rate", [0, -5])
def test_refuses_a_rate_that_means_nothing_and_names_the_way_out(rate):
    with pytest.raises(ValueError, match=r"pause\(\)"):
        Governor(rate=rate)


def test_pause_holds_until_each_reason_is_taken_back():
    governor = Governor()
    governor.pause("lunch")
    governor.pause("lag", by="protection")
    thread, _, ended = _in_thread(lambda: governor.admit(1))
    assert governor.held_by == "lunch; lag"
    governor.resume()
    time.sleep(0.05)
    assert not ended
    governor.resume(by="protection")
    thread.join(1)
    assert ended
    assert governor.held_by == ""


def test_stop_reaches_those_that_wait_and_those_that_come():
    governor = Governor()
    governor.pause("waiting for an operator")
    thread, raised, _ = _in_thread(lambda: governor.admit(1))
    governor.stop("cancelled")
    thread.join(1)
    assert isinstance(raised[0], StoppedError)
    with pytest.raises(StoppedError, match="cancelled"):
        governor.admit(1)
    with pytest.raises(StoppedError):
        governor.check()


def test_ticks_while_it_waits():
    """Whoever waits can still report that it does, and why."""
    governor = Governor()
    governor.pause("lunch")
    ticks: list[str] = []

    def tick() -> None:
        ticks.append(governor.held_by)
        governor.resume()

    governor.admit(1, tick)
    assert ticks == ["lunch"]


class Switch:
    def __init__(self) -> None:
        self.reason: str | None = None
        self.broken = False

    def check(self) -> str | None:
        if self.broken:
            raise OSError("no route to host")
        return self.reason


def test_protections_hold_and_let_go_by_themselves():
    switch = Switch()
    with Governor(protections=[switch], every=0.02) as governor:
        governor.admit(1)
        switch.reason = "group billing is 1,000,000 events behind"
        _wait_until(lambda: governor.held_by == switch.reason)
        thread, _, ended = _in_thread(lambda: governor.admit(1))
        time.sleep(0.05)
        assert not ended
        switch.reason = None
        thread.join(1)
        assert ended


def test_a_protection_is_asked_before_the_first_event():
    switch = Switch()
    switch.reason = "lag"
    with Governor(protections=[switch], every=60) as governor:
        assert governor.held_by == "lag"


def test_a_protection_that_cannot_see_holds():
    switch = Switch()
    switch.broken = True
    with Governor(protections=[switch], every=0.02) as governor:
        assert governor.held_by == "Switch can't see: no route to host"
        switch.broken = False
        _wait_until(lambda: governor.held_by == "")
