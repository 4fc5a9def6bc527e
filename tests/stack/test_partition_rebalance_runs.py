"""Runs of `partition-rebalance` in processes of their own: killed, cancelled, steered, approved too late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Suspended

from deployments.local.stack import Stack
from flows.partition_rebalance import partition_rebalance
from tasks.approval import Approval, is_asking, send_answer
from tasks.ending import plan_key
from tasks.pace import Pace, set_pace, variable_name
from tasks.paused import PAUSED
from tests.stack.backlog import word
from tests.stack.yard import MB, Yard, opened

pytestmark = pytest.mark.timeout(300)

JOB, ENTRYPOINT = "partition-rebalance", "flows.partition_rebalance.partition_rebalance"
SLOW = 0.2
"""MB a second. What Kafka lets through in the first seconds is less than the tests' partitions have."""


@pytest.fixture
def yard(fault_stack: Stack, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    with opened(fault_stack, stack, tmp_path, monkeypatch) as yard:
        yield yard


class Running:
    """A run of a deployment, in processes as a worker starts them."""

    def __init__(self, yard: Yard, **given: Any) -> None:
        self._yard = yard
        with get_client(sync_client=True) as client:
            flow = client.create_flow(partition_rebalance)
            deployment = client.create_deployment(flow, yard.topic)
            run = client.create_flow_run_from_deployment(deployment, parameters={"rebalance": yard.parameters(**given)})
        self.id: UUID = run.id
        self.start()

    def start(self) -> None:
        url = self._yard.prefect
        env = os.environ | {"PREFECT_API_URL": url, "PREFECT__FLOW_ENTRYPOINT": ENTRYPOINT}
        self._process = subprocess.Popen([sys.executable, "-m", "prefect.engine", str(self.id)], env=env)

    def send(self, sent: signal.Signals) -> None:
        self._process.send_signal(sent)
        self.ended()

    def ended(self) -> None:
        self._process.wait(90)

    def word(self, client: SyncPrefectClient) -> str:
        state = client.read_flow_run(self.id).state
        assert state is not None
        return word(state)


def until(is_so: Callable[[], bool], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.2)


def test_an_approval_of_a_plan_that_no_longer_holds_moves_nothing_and_says_what_has_changed(yard: Yard) -> None:
    yard.settings('approval = "required"')
    yard.create([[3, 1], [1, 2]])
    run = Running(yard)
    run.ended()
    with get_client(sync_client=True) as client:
        assert is_asking(client.read_flow_run(run.id))
        with yard.writer() as writer:
            writer.reassign({(yard.topic, 0): (1, 3)})
        until(lambda: yard.replicas()[0] == [1, 3])
        send_answer(client, run.id, Approval(decision="approve", name="anna", reason="as planned"))
        run.start()
        run.ended()
        message = str(client.read_flow_run(run.id).state)
        assert run.word(client) == "refused", message
    assert f"{yard.topic}/0 was on [3, 1], and is on [1, 3]" in message
    assert yard.replicas() == [[1, 3], [1, 2]]


def test_a_run_that_was_steered_and_then_killed_is_gone_on_with_and_leaves_no_throttle(
    yard: Yard,
) -> None:
    yard.create([[3, 1], [3, 1]], size=4 * MB)
    run = Running(yard, throttle=SLOW, moves_per_broker=1)
    until(yard.moving)
    with get_client(sync_client=True) as client:
        assert set_pace(client, variable_name(JOB, str(run.id)), Pace(rate=0.3))
    until(lambda: yard.rates() == {"300000"})
    run.send(signal.SIGKILL)
    assert yard.moving()
    state = yard.run("go_on", throttle=100.0)
    assert yard.did(state) == "proved", state.message
    assert all(3 not in replicas for replicas in yard.replicas())
    assert yard.rates() == set()


def test_a_run_that_is_cancelled_keeps_what_is_done_and_can_be_taken_back_to_the_exact_order(yard: Yard) -> None:
    yard.create([[3, 1], [3, 1]], sizes=[0, 4 * MB])
    run = Running(yard, throttle=SLOW, moves_per_broker=1)
    until(lambda: yard.moving() and 3 not in yard.replicas()[0])
    run.send(signal.SIGTERM)  # which is what a cancel comes to
    operation = yard.operation()
    assert (operation.id, operation.status) == (str(run.id), "cancelled")
    evidence = operation.evidence or {}
    assert (evidence["ongoing"], evidence["owed"], (operation.counts or {})["done"]) == ([], [], 1)
    assert list(evidence["not_done"]) == [f"{yard.topic}/1"]
    assert not yard.moving()
    assert yard.replicas()[1] == [3, 1]
    assert 3 not in yard.replicas()[0]
    assert yard.rates() == set()
    state = yard.run("roll_back")
    assert word(state) == "proved", state.message
    assert yard.replicas() == [[3, 1], [3, 1]]


def test_a_run_that_was_paused_in_the_ui_takes_back_what_is_under_way_and_resume_moves_the_rest(yard: Yard) -> None:
    yard.create([[3, 1], [3, 1]], sizes=[0, 4 * MB])
    run = Running(yard, throttle=SLOW, moves_per_broker=1)
    until(lambda: yard.moving() and 3 not in yard.replicas()[0])
    with get_client(sync_client=True) as client:
        # As the UI does, but for longer.
        expires = datetime.now(UTC) + timedelta(hours=1)
        client.set_flow_run_state(run.id, Suspended(pause_expiration_time=expires), force=True)
        run.ended()
        operation = yard.operation()
        assert (operation.id, operation.status) == (str(run.id), "paused")
        evidence = operation.evidence or {}
        assert (evidence["reason"], evidence["ongoing"], evidence["owed"]) == (PAUSED, [], [])
        assert not yard.moving()
        assert yard.rates() == set()
        assert client.resume_flow_run(run.id).status == SetStateStatus.ACCEPT
        run.start()
        until(lambda: bool(set_pace(client, variable_name(JOB, str(run.id)), Pace(rate=100.0))))
        run.ended()
        state = client.read_flow_run(run.id).state
        assert state is not None
        assert yard.did(state) == "proved", state.message
    assert all(3 not in replicas for replicas in yard.replicas())
    assert yard.rates() == set()


@pytest.mark.parametrize(
    ("goal", "told", "end"),
    [
        ("go_on", "1 partition to move, 4.0 MB to copy", [[1, 2], [1, 2]]),
        ("roll_back", "2 partitions to move, 0 B to copy", [[1, 3], [1, 3]]),  # what is under way is cancelled
    ],
    ids=["go_on", "roll_back"],
)
def test_what_a_killed_run_has_done_half_is_gone_on_with_or_taken_back_after_approval(
    yard: Yard, goal: str, told: str, end: list[list[int]]
) -> None:
    yard.create([[3, 1], [3, 1]], sizes=[0, 4 * MB])
    killed = Running(yard, throttle=SLOW / 20, moves_per_broker=1)  # so that it is under way still when it is looked at
    until(lambda: yard.moving() and 3 not in yard.replicas()[0])
    killed.send(signal.SIGKILL)
    yard.settings('approval = "required"')
    run = Running(yard, goal=goal, throttle=100.0)
    run.ended()
    with get_client(sync_client=True) as client:
        assert is_asking(client.read_flow_run(run.id))
        shown = yard.artifact(plan_key(JOB))
        assert f"{'This goes on with' if goal == 'go_on' else 'This takes back'} run {killed.id}" in shown
        assert told in shown
        send_answer(client, run.id, Approval(decision="approve", name="anna", reason="as planned"))
        run.start()
        run.ended()
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert yard.did(state) == "proved", state.message
    assert [sorted(replicas) for replicas in yard.replicas()] == end
    assert goal == "go_on" or yard.replicas() == [[3, 1], [3, 1]]
    assert yard.rates() == set()
