"""Pumps killed with -9 at random moments, put to sleep and woken as zombies: each event arrives once all the same."""

from __future__ import annotations

import random
import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from redrive.pump.checkpoint import Checkpoint
from redrive.pump.cursors import read_cursor
from redrive.pump.proof import prove
from tests.stack.pump_process import FENCED
from tests.stack.pumping import OPERATION, Lab, assert_exactly_once_in_order, kill


@pytest.fixture(scope="module")
def checkpoints() -> str:
    return f"pump.checkpoints.{uuid.uuid4().hex[:8]}"


@pytest.fixture
def lab(stack: Any, checkpoints: str) -> Iterator[Lab]:
    return Lab.make(stack.endpoints.bootstrap, checkpoints)


@pytest.mark.parametrize("seed", range(3))
def test_exactly_once_through_kill_9_at_random_moments(lab, seed):
    """However often it is killed, and wherever: started again, it goes on, and no reader sees the difference."""
    count, chance = 40_000, random.Random(seed)
    kills = 0
    while True:
        process = lab.process(count, rate=40_000 if kills < 5 else 0)
        if kills < 5:
            time.sleep(chance.uniform(0.2, 2.5))  # from before the first connection to well into the work
        if kills < 5 and process.poll() is None:
            kill(process)
            kills += 1
            continue
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert f"done {count}" in output
        break
    assert_exactly_once_in_order(lab.read(), lab.events(count))
    cursor = read_cursor(lab.client, lab.unit, lab.checkpoints)
    state = Checkpoint.decode(cursor, OPERATION)
    assert state.published == count
    assert prove(lab.client, {lab.unit: state.topics}, operation=OPERATION).verdict == "proved"


def test_a_zombie_that_wakes_after_its_successor_changes_nothing(lab):
    """SIGSTOP in mid-run, a second copy does the work, SIGCONT: the first one finds itself fenced."""
    count = 30_000
    zombie = lab.process(count, rate=10_000)
    assert zombie.stdout is not None
    assert zombie.stdout.readline() == "started\n"
    time.sleep(0.7)
    zombie.send_signal(signal.SIGSTOP)
    successor = lab.process(count)
    output, _ = successor.communicate(timeout=60)
    assert f"done {count}" in output
    zombie.send_signal(signal.SIGCONT)
    output, _ = zombie.communicate(timeout=60)
    assert (zombie.returncode, output) == (FENCED, "fenced\n")
    assert_exactly_once_in_order(lab.read(), lab.events(count))


def test_a_run_that_slept_past_its_transaction_timeout_loses_and_doubles_nothing(lab):
    """Nobody took over, but the brokers aborted its transaction: it is not called fenced, and can be started again."""
    count = 30_000
    process = lab.process(count, rate=10_000, timeout=2.0)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(0.7)
    process.send_signal(signal.SIGSTOP)
    time.sleep(14)  # brokers look for expired transactions every 10 s
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode != FENCED
    if process.returncode != 0:
        output, _ = lab.process(count).communicate(timeout=60)
        assert f"done {count}" in output
    assert_exactly_once_in_order(lab.read(), lab.events(count))
