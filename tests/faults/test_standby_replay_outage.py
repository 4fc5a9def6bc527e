"""The job `standby-replay` when the cluster goes away again while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from flows.standby_replay import Replay, standby_replay
from redrive.errors import StoppedError
from redrive.ledger import Ledger
from redrive.pump.governor import Governor
from redrive.standby.drain import drain
from redrive.standby.survey import survey
from tests.stack.backlog import Backlogs, by_key, word

pytestmark = pytest.mark.timeout(500)


@pytest.fixture
def platform(stack: Stack, fault_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backlogs]:
    """A platform on brokers that may be killed; its flow runs go to the Prefect of the other stack."""
    platform = Backlogs(fault_stack, tmp_path, "orders")
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    platform.create()
    with settings(stack):
        yield platform


def settings(stack: Stack) -> AbstractContextManager[object]:
    api = stack.environment()["PREFECT_API_URL"]
    return temporary_settings(updates={PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def replay(**parameters: Any) -> State[Any]:
    return standby_replay(Replay(mode="run", settle=0, **parameters), return_state=True)


class Slowly(threading.Thread):
    """A replay that takes long."""

    def __init__(self, stack: Stack, patience: float) -> None:
        super().__init__()
        self._stack, self._patience = stack, patience

    def run(self) -> None:
        with settings(self._stack):
            self.state = replay(rate=100, patience=self._patience)

    def wait_until_it_publishes(self, platform: Backlogs) -> None:
        deadline = time.monotonic() + 60
        while not platform.ids_by_key(platform.topics[0]):
            assert time.monotonic() < deadline, "the replay publishes nothing"
            time.sleep(0.5)

    def end(self) -> State[Any]:
        self.join(300)
        assert not self.is_alive()
        return self.state


def brokers(stack: Stack) -> list[str]:
    return [node for node in stack.nodes if node.startswith("kafka")]


def test_a_cluster_that_stays_away_pauses_the_run_and_the_next_one_brings_the_rest(
    stack: Stack, fault_stack: Stack, platform: Backlogs
) -> None:
    (topic,) = platform.topics
    ids = platform.fill(topic, 3_000)
    slowly = Slowly(stack, patience=2)
    slowly.start()
    slowly.wait_until_it_publishes(platform)
    fault_stack.kill(*brokers(fault_stack))

    state = slowly.end()

    assert (word(state), state.is_failed()) == ("paused", True)
    assert "nothing lost" in str(state.message)
    with Ledger.open(platform.config.ledger_url()) as ledger:
        (paused,) = ledger.operations()
        assert (paused.status, paused.verdict, ledger.held()) == ("paused", None, {})
    assert not platform.are_open(topic)

    fault_stack.start(*brokers(fault_stack))
    assert word(replay()) == "proved"
    assert platform.ids_by_key(topic) == by_key(ids)
    with Ledger.open(platform.config.ledger_url()) as ledger:
        proved = ledger.operations()[0]
    assert proved.counts is not None
    assert proved.counts["found"] + proved.counts["found_of_earlier_runs"] == 3_000


def test_a_cluster_that_is_back_in_time_costs_the_run_nothing_but_time(
    stack: Stack, fault_stack: Stack, platform: Backlogs
) -> None:
    (topic,) = platform.topics
    ids = platform.fill(topic, 2_000)
    slowly = Slowly(stack, patience=240)
    slowly.start()
    slowly.wait_until_it_publishes(platform)
    fault_stack.kill(*brokers(fault_stack))
    time.sleep(3)
    fault_stack.start(*brokers(fault_stack))

    assert word(slowly.end()) == "proved"
    assert platform.ids_by_key(topic) == by_key(ids)
    assert platform.are_open(topic)


def test_a_replay_that_waits_for_brokers_stops_when_it_is_asked_to(fault_stack: Stack, platform: Backlogs) -> None:
    """Well before Prefect kills what it cancels, which is after 30 s."""
    (topic,) = platform.topics
    ids = platform.fill(topic, 3_000)
    governor = Governor(rate=100)
    (lane, *_) = [each.lane for each in survey(platform.store, "main", [topic]) if not each.is_open]
    with ThreadPoolExecutor(1) as pool:
        replaying = pool.submit(drain, platform.config, lane, operation="op", governor=governor, settle=0.0)
        deadline = time.monotonic() + 60
        while not platform.ids_by_key(topic):
            assert time.monotonic() < deadline, "the replay publishes nothing"
            time.sleep(0.5)
        fault_stack.kill(*brokers(fault_stack))
        governor.rate = None  # it goes on to a transaction that can't end
        time.sleep(3)
        assert not replaying.done()
        governor.stop("cancelled")
        stopped = time.monotonic()
        assert isinstance(replaying.exception(60), StoppedError)
        assert time.monotonic() - stopped < 28

    fault_stack.start(*brokers(fault_stack))
    assert word(replay()) == "proved"
    assert platform.ids_by_key(topic) == by_key(ids)
