"""Backfills that are killed anywhere, while producers go on: each event is in the target once, in order, or parked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.faults.backfill_rounds import EVENTS, Killed

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def house(fault_stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Killed:
    return Killed(fault_stack, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "point",
    [
        "after create:1",
        "before start:2",
        "after begin:3",
        "before transaction:6",
        "after transaction:6",
        "before end:1",
    ],
)
def test_a_backfill_that_is_killed_is_gone_on_with(house: Killed, point: str) -> None:
    house.fill()
    assert house.live("op-1", point) == -9
    house.fill(first=EVENTS // 2)
    assert house.live("op-2") == 0
    assert house.violations() == []


def test_it_may_be_killed_again_and_again_while_producers_go_on(house: Killed) -> None:
    done = threading.Event()

    def produce() -> None:
        first = 0
        while not done.is_set():
            house.fill(first)
            first += EVENTS // 2
            done.wait(0.5)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        for number in range(1, 5):
            assert (
                house.live(f"op-{number}", f"{'after' if number % 2 else 'before'} transaction:{4 * number}", 60) == -9
            )
    finally:
        done.set()
        producer.join()
    assert house.live("op-last") == 0
    assert house.violations() == []
