"""Runs whose process has died are ended in Prefect by the next look at clusters, and no others: on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending, Running, Scheduled, Suspended

from deployments.local.process import Launch
from deployments.local.stack import Stack
from deployments.worker import POOL, ROOT, create_pool, worker_command, worker_environment
from deployments.worker_process import Worker
from redrive.config import Config
from redrive.ledger import Ledger, Operation
from tasks.cluster_health import dead_runs

pytestmark = pytest.mark.timeout(300)

BUSY = """
from prefect import flow, tags
from redrive.config import Config
from tasks.operations import operation

@flow(name="dlq-triage")
def triage():
    with operation(Config.load(), "dlq-triage", "run", cluster="main", resources=[], parameters={}) as run:
        print("at work:", run.flow_run, flush=True)
        while True:
            sum(range(100_000))

with tags("redrive"):
    triage()
"""
"""A run that leaves the interpreter to others as little as it can."""
JOB = """
from pathlib import Path
from prefect import flow
from prefect.runtime import flow_run

@flow(name="dlq-triage")
def a_job():
    (Path(__file__).parent / flow_run.id).touch()
"""
"""A job that leaves a file named after its run."""


@flow(name="dlq-triage")
def a_job() -> None:
    pass


@flow(name="cluster-health")
def a_look() -> None:
    pass


@flow(name="somebody-s-own")
def somebody_s() -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def _soon_cancelled() -> Iterator[None]:
    """Prefect's server waits for five minutes by default; this one, which is started after this, has less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS", "5")
        yield


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "redrive.toml").write_text(
        '[registry]\nurl = "http://127.0.0.1:1"\n[clusters.main]\nbootstrap = "127.0.0.1:1"\n'
        '[domains.a]\ncluster = "main"\n[topics.a]\ndomain = "a"\n'
    )
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    return Config.load()


@pytest.fixture
def prefect(own_prefect: Stack) -> Iterator[SyncPrefectClient]:
    api = own_prefect.environment()["PREFECT_API_URL"]
    with temporary_settings(updates={PREFECT_API_URL: api}), SyncPrefectClient(api) as client:
        yield client


@pytest.fixture
def busy(config: Config, prefect: SyncPrefectClient, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that is at work, and the id of its run."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = next(line for line in process.stdout if line.startswith("at work:"))
    yield process, said.split()[-1]
    process.kill()
    process.wait()


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The entrypoint of a job that workers can run."""
    (tmp_path / "a_job.py").write_text(JOB)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    return "a_job.a_job"


def claimed(prefect: SyncPrefectClient, job: str, pool: str, name: str) -> FlowRun:
    """A run that a worker of this pool has taken."""
    run = submitted(prefect, job, pool, name)
    prefect.set_flow_run_state(run.id, Pending())
    return run


def submitted(prefect: SyncPrefectClient, job: str, pool: str, name: str) -> FlowRun:
    deployment = prefect.create_deployment(
        prefect.create_flow(a_job), "a-job", entrypoint=job, work_pool_name=pool, pull_steps=[], tags=["redrive"],
        job_variables={"command": "python -m prefect.engine"},
    )  # fmt: skip
    return prefect.create_flow_run_from_deployment(deployment, name=name, tags=["redrive"])


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def end_dead_runs(config: Config) -> list[str]:
    """As a look does, but with everything watched."""

    @flow(name="cluster-health")
    def look() -> list[str]:
        return dead_runs.end_dead_runs(config, quiet=timedelta(0))

    return look()


def test_who_shows_signs_of_life_is_left_alone_also_after_the_server_was_away_and_who_was_killed_is_ended(
    own_prefect: Stack, prefect: SyncPrefectClient, config: Config, busy: tuple[subprocess.Popen[str], str]
) -> None:
    def made(name: str) -> FlowRun:
        return prefect.create_flow_run(a_job, name=name, tags=["redrive"])

    def state(run: str) -> tuple[str | None, str | None]:
        found = prefect.read_flow_run(run).state  # type: ignore[arg-type]
        assert found is not None
        return found.name, found.message

    def in_ledger(run: FlowRun) -> Operation:
        about: dict[str, Any] = {"cluster": "main", "resources": [], "who": "anna", "parameters": {}}
        return ledger.begin("dlq-triage", "run", operation_id=str(run.id), **about)

    process, alive = busy
    dead, done, failed = made("its machine went"), made("came to a good end"), made("came to a bad end")
    look = prefect.create_flow_run(a_look, name="a look that died", tags=["redrive-health"])
    unbegun, unknown = made("its container waits for a machine"), made("of another ledger")
    waiting, foreign = made("waits for approval"), prefect.create_flow_run(somebody_s, tags=["redrive"])
    with Ledger.open(config.ledger_url()) as ledger:
        for run, status in ((dead, None), (done, "done"), (failed, "failed"), (waiting, "paused"), (unbegun, "paused")):
            operation = in_ledger(run)
            if status is not None:
                operation.finish(status)
    for run in (dead, done, failed, look, unknown, foreign):
        prefect.set_flow_run_state(run.id, Running(), force=True)
    prefect.set_flow_run_state(unbegun.id, Pending(), force=True)
    prefect.set_flow_run_state(waiting.id, Suspended(timeout_seconds=600), force=True)

    assert set(end_dead_runs(config)) == {str(run.id) for run in (dead, done, failed, look)}
    for run, name, message in (
        (dead, "Crashed", "its process died: no sign of life since"),
        (look, "Crashed", "its process died: no sign of life since"),
        (done, "Completed", "it had ended in the ledger as done, and Prefect was not told"),
        (failed, "Crashed", "it had ended in the ledger as failed, and Prefect was not told"),
    ):
        found = state(str(run.id))
        assert (found[0], message in str(found[1])) == (name, True)
    left = [state(str(run.id))[0] for run in (unbegun, unknown, waiting, foreign)]
    assert left == ["Pending", "Running", "Suspended", "Running"]

    own_prefect.kill("prefect")
    own_prefect.start("prefect")
    assert end_dead_runs(config) == []
    assert state(alive)[0] == "Running"

    process.kill()
    process.wait()
    assert end_dead_runs(config) == [alive]
    name, message = state(alive)
    assert name == "Crashed"
    assert str(message).endswith("started again, the job goes on where it was")
    with Ledger.open(config.ledger_url()) as ledger:
        assert ledger.operation(alive).status == "running", "the next run takes it over, with what it left"
    assert end_dead_runs(config) == []


def test_a_run_that_was_to_begin_when_its_worker_died_is_taken_by_no_other_and_ended_and_begins_by_retry(
    prefect: SyncPrefectClient, config: Config, job: str, tmp_path: Path
) -> None:
    api = str(prefect.api_url)
    create_pool(api)
    stuck, other = claimed(prefect, job, POOL, "approved"), submitted(prefect, job, POOL, "the next one")
    with Ledger.open(config.ledger_url()) as ledger:
        about: dict[str, Any] = {"cluster": "main", "resources": [], "who": "anna", "parameters": {}}
        ledger.begin("dlq-triage", "run", operation_id=str(stuck.id), **about).finish("paused")
    launch = Launch(worker_command(), worker_environment({"PREFECT_API_URL": api}))
    with Worker(launch, tmp_path / "logs" / "worker.log"):
        wait_for((tmp_path / str(other.id)).exists)
        assert dead_runs.end_dead_runs(config) == [], "its process may be about to begin"
        state = prefect.read_flow_run(stuck.id).state
        assert state is not None
        assert state.is_pending()

        assert end_dead_runs(config) == [str(stuck.id)]
        state = prefect.read_flow_run(stuck.id).state
        assert state is not None
        assert state.name == "Crashed"
        assert str(state.message).startswith("it never began: a worker took it at ")

        prefect.set_flow_run_state(stuck.id, Scheduled())  # as its button does
        wait_for((tmp_path / str(stuck.id)).exists)


def test_a_process_that_begins_after_all_works_as_if_its_run_had_not_been_ended(
    prefect: SyncPrefectClient, config: Config, job: str, tmp_path: Path
) -> None:
    create_pool(str(prefect.api_url))
    run = claimed(prefect, job, POOL, "on a machine that slept")
    assert end_dead_runs(config) == [str(run.id)]
    environment = os.environ | {"PREFECT_API_URL": str(prefect.api_url), "PREFECT__FLOW_RUN_ID": str(run.id)}
    subprocess.run([sys.executable, "-m", "prefect.engine"], env=environment, cwd=tmp_path, check=True)
    assert (tmp_path / str(run.id)).exists()
    states = sorted(prefect.read_flow_run_states(run.id), key=lambda state: state.timestamp)
    assert [state.name for state in states][-3:] == ["Crashed", "Running", "Completed"]


def test_a_run_whose_container_may_wait_for_a_machine_is_left(
    prefect: SyncPrefectClient, config: Config, job: str
) -> None:
    prefect.create_work_pool(WorkPoolCreate(name="pods", type="kubernetes"))
    run = claimed(prefect, job, "pods", "its pod is to be placed")
    assert end_dead_runs(config) == []
    state = prefect.read_flow_run(run.id).state
    assert state is not None
    assert state.name == "Pending"


def test_a_run_that_is_cancelled_and_has_no_worker_is_ended_by_the_server_though_its_process_works_on(
    prefect: SyncPrefectClient, busy: tuple[subprocess.Popen[str], str]
) -> None:
    process, run = busy
    prefect.set_flow_run_state(run, Cancelling())  # type: ignore[arg-type]

    def is_cancelled() -> bool:
        state = prefect.read_flow_run(run).state  # type: ignore[arg-type]
        return state is not None and state.name == "Cancelled"

    wait_for(is_cancelled)
    assert process.poll() is None
