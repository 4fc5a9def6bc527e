"""The job `standby-replay` in earnest: deployed, started by schedule, event or hand, in a process of a worker."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse, SetStateStatus
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Suspended
from typer.testing import CliRunner

from deployments.cli import app
from deployments.follow import artifacts_of, follow, start
from deployments.local.stack import Stack
from deployments.worker import start_worker
from deployments.worker_process import Worker
from flows.standby_replay import Replay, standby_replay
from redrive.errors import UnavailableError
from redrive.ledger import Ledger, OperationRow
from tasks.live import PROGRESS
from tasks.pace import Pace, running, set_pace, variable_name
from tasks.paused import PAUSED, is_paused
from tests.stack.backlog import Backlogs, by_key, word

pytestmark = pytest.mark.timeout(400)

Found = TypeVar("Found")
SLOWLY = 100  # events a second


@pytest.fixture(scope="module")
def platform(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Backlogs:
    return Backlogs(stack, tmp_path_factory.mktemp("platform"), "recovered", "cancelled", "paused", "killed")


@pytest.fixture(scope="module")
def environment(stack: Stack, own_prefect: Stack, platform: Backlogs) -> dict[str, str]:
    return stack.environment() | own_prefect.environment() | platform.environment


@pytest.fixture(scope="module")
def worker(
    environment: dict[str, str], platform: Backlogs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        platform.create()
        with start_worker(environment, tmp_path_factory.mktemp("logs") / "worker.log") as worker:
            with SyncPrefectClient(environment["PREFECT_API_URL"]) as client:
                # It would see the backlogs of these tests, and have them replayed.
                no_more_runs(client, "cluster-health")
            yield worker


@pytest.fixture(autouse=True)
def _environment(environment: dict[str, str], worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with temporary_settings(updates={PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        yield


@pytest.fixture
def prefect() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def deployment_of(prefect: SyncPrefectClient, job: str = "standby-replay") -> DeploymentResponse:
    return prefect.read_deployment_by_name(f"{job}/{job}")


def no_more_runs(prefect: SyncPrefectClient, job: str = "standby-replay") -> None:
    """Switch off the schedules of a job, and wait for those of its runs that a worker may have taken already."""
    deployment = deployment_of(prefect, job)
    for schedule in deployment.schedules:
        prefect.update_deployment_schedule(deployment.id, schedule.id, active=False)
    wait_for(lambda: all(run.state and run.state.is_final() for run in runs_of(prefect, job)) or None, 60, "quiet")


def runs_of(prefect: SyncPrefectClient, job: str = "standby-replay") -> list[FlowRun]:
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_of(prefect, job).id]))
    return prefect.read_flow_runs(deployment_filter=wanted)


def wait_for(look: Callable[[], Found | None], seconds: float, what: str) -> Found:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"after {seconds} s there is still no {what}"
        time.sleep(0.3)
    return found


def end_of(prefect: SyncPrefectClient, run_id: UUID) -> FlowRun:
    def look() -> FlowRun | None:
        run = prefect.read_flow_run(run_id)
        return run if run.state is not None and run.state.is_final() else None

    return wait_for(look, 120, "end of the run")


def operation(platform: Backlogs, run_id: UUID) -> OperationRow:
    with Ledger.open(platform.config.ledger_url()) as ledger:
        return ledger.operation(str(run_id))


def start_slowly(prefect: SyncPrefectClient, topic: str) -> UUID:
    """Start a run that takes long, and return when it has begun to publish."""
    run = start(
        prefect, "standby-replay", {"replay": {"mode": "run", "topics": [topic], "rate": SLOWLY, "settle": 0}}, "anna"
    )

    def publishes() -> bool | None:
        progress = artifacts_of(prefect, run.id).get("standby-replay" + PROGRESS)
        return True if progress and int((progress.metadata_ or {})["read"]) > 0 else None

    wait_for(publishes, 120, "progress")
    return run.id


def test_the_schedule_makes_runs_each_quarter_of_an_hour(prefect: SyncPrefectClient) -> None:
    # With SQLAlchemy 2.1, to name one, Prefect deploys as ever, and its scheduler never makes a run.
    def scheduled() -> FlowRun | None:
        found = [run for run in runs_of(prefect) if run.auto_scheduled and run.next_scheduled_start_time]
        return min(found, key=lambda run: str(run.next_scheduled_start_time), default=None)

    run = wait_for(scheduled, 90, "scheduled run")
    assert run.next_scheduled_start_time is not None
    assert run.next_scheduled_start_time.minute % 15 == 0
    assert (run.next_scheduled_start_time - datetime.now(UTC)).total_seconds() <= 900
    assert run.parameters == {"replay": {"mode": "run"}}
    # From here on it would only get in the way of the other tests.
    no_more_runs(prefect)


def test_a_recovered_cluster_starts_a_run_for_its_topics(prefect: SyncPrefectClient, platform: Backlogs) -> None:
    topic = platform.topics[0]
    ids = platform.fill(topic, 500)
    before = {run.id for run in runs_of(prefect)}
    event = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "redrive.cluster.recovered",
        "resource": {"prefect.resource.id": "redrive.cluster.main"},
        "payload": {"cluster": "main"},
    }
    prefect.request("POST", "/events", json=[event])

    def started() -> FlowRun | None:
        new = [run for run in runs_of(prefect) if run.id not in before and not run.auto_scheduled]
        return new[0] if new else None

    run = wait_for(started, 60, "run started by the event")
    assert run.parameters["replay"] == {"mode": "run", "cluster": "main"}
    end = end_of(prefect, run.id)
    assert end.state is not None
    assert word(end.state) == "proved", end.state.message
    assert platform.ids_by_key(topic) == by_key(ids)
    assert operation(platform, run.id).who.startswith("automation")


def test_a_cancelled_run_leaves_a_clean_cursor_and_the_next_one_goes_on(
    prefect: SyncPrefectClient, platform: Backlogs
) -> None:
    topic = platform.topics[1]
    ids = platform.fill(topic, 4_000)
    run_id = start_slowly(prefect, topic)
    prefect.set_flow_run_state(run_id, Cancelling())  # as the UI does

    end = end_of(prefect, run_id)

    assert end.state is not None
    assert end.state.is_cancelled()
    cancelled = operation(platform, run_id)
    assert (cancelled.status, cancelled.verdict, cancelled.who) == ("cancelled", None, "anna")
    assert cancelled.counts is not None
    assert 0 < cancelled.counts["published"] < 4_000
    with Ledger.open(platform.config.ledger_url()) as ledger:
        assert ledger.held() == {}
    assert prefect.read_variable_by_name(variable_name("standby-replay", str(run_id))) is None

    result = CliRunner().invoke(app, ["run", "standby-replay", "--topic", topic, "--json"], catch_exceptions=False)

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["ended"] == "proved"
    # It has proved, too, what the cancelled one had published.
    assert said["found"] + said["found_of_earlier_runs"] == 4_000
    assert platform.ids_by_key(topic) == by_key(ids)
    assert platform.are_open(topic)


def test_a_run_that_was_paused_in_the_ui_stops_at_a_clean_cursor_and_resume_goes_on(
    prefect: SyncPrefectClient, platform: Backlogs
) -> None:
    topic = platform.topics[2]
    ids = platform.fill(topic, 4_000)
    run_id = start_slowly(prefect, topic)
    # As the UI does, but for longer.
    until = datetime.now(UTC) + timedelta(hours=1)
    prefect.set_flow_run_state(run_id, Suspended(pause_expiration_time=until), force=True)

    def ended() -> OperationRow | None:
        row = operation(platform, run_id)
        return row if row.status != "running" else None

    paused = wait_for(ended, 120, "end of the operation")

    assert (paused.status, paused.verdict) == ("paused", None)
    assert (paused.evidence or {})["reason"] == PAUSED
    assert 0 < (paused.counts or {})["published"] < 4_000
    with Ledger.open(platform.config.ledger_url()) as ledger:
        assert ledger.held() == {}
    wait_for(lambda: is_paused(prefect.read_flow_run(run_id)) or None, 60, "last word")
    said = CliRunner().invoke(app, ["pace", "standby-replay", "--pause"])
    assert f"no run of standby-replay is at work now; {run_id} was {PAUSED}" in str(said.exception)
    own = variable_name("standby-replay", str(run_id))
    wait_for(lambda: True if prefect.read_variable_by_name(own) is None else None, 60, "end of its pace")

    assert prefect.resume_flow_run(run_id).status == SetStateStatus.ACCEPT
    [name] = wait_for(lambda: running(prefect, "standby-replay") or None, 120, "pace of the run that goes on")
    set_pace(prefect, name, Pace())  # full speed

    end = end_of(prefect, run_id)

    assert end.state is not None
    assert word(end.state) == "proved", end.state.message
    assert platform.ids_by_key(topic) == by_key(ids)
    assert platform.are_open(topic)
    # It is an operation of its own, which has proved what the first one had published, too.
    assert operation(platform, run_id).status == "paused"


def test_after_kill_9_of_the_worker_the_next_run_takes_over(
    prefect: SyncPrefectClient, platform: Backlogs, worker: Worker
) -> None:
    topic = platform.topics[3]
    ids = platform.fill(topic, 4_000)
    run_id = start_slowly(prefect, topic)
    worker.kill()

    state = standby_replay(Replay(mode="run", topics=[topic], settle=0), return_state=True)

    assert word(state) == "proved", state.message
    assert platform.ids_by_key(topic) == by_key(ids)
    dead = operation(platform, run_id)
    assert dead.status == "failed"
    assert dead.evidence is not None
    assert "no heartbeat" in dead.evidence["reason"]
    # Nobody else would ever end the dead one's flow run, nor take its variable away.
    assert end_of(prefect, run_id).state.is_crashed()  # type: ignore[union-attr]
    assert prefect.read_variable_by_name(variable_name("standby-replay", str(run_id))) is None

    # And with no worker left, whoever starts a run by hand is told so.
    waiting = start(prefect, "standby-replay", {"replay": {}}, "anna")
    with pytest.raises(UnavailableError, match="prefect worker start --pool redrive"):
        follow(prefect, waiting.id, lambda _: None, nobody=3)
