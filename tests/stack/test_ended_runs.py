"""What Prefect says of runs that end with their worker: on a real server, by a real worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local.process import Launch
from deployments.local.stack import Stack
from deployments.worker import POOL, create_pool, worker_command, worker_environment
from deployments.worker_process import Worker

pytestmark = pytest.mark.timeout(300)

JOB = """
import time
from pathlib import Path
from prefect import flow
from prefect.exceptions import TerminationSignal

@flow(name="a-job")
def a_job():
    here = Path(__file__).parent
    (here / "begun").touch()
    try:
        time.sleep(600)
    except TerminationSignal:
        (here / "ended well").touch()
        raise
"""


@flow(name="a-job")
def a_job() -> None:
    pass


@pytest.fixture
def prefect(own_prefect: Stack) -> Iterator[SyncPrefectClient]:
    api = own_prefect.environment()["PREFECT_API_URL"]
    with temporary_settings(updates={PREFECT_API_URL: api}), SyncPrefectClient(api) as client:
        yield client


@pytest.fixture
def worker(prefect: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "a_job.py").write_text(JOB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    api = str(prefect.api_url)
    create_pool(api)
    worker = Worker(
        Launch(worker_command(), worker_environment({"PREFECT_API_URL": api})), tmp_path / "logs" / "worker.log"
    )
    yield worker
    worker.kill()


def begin(prefect: SyncPrefectClient, folder: Path) -> FlowRun:
    """Start a run, and wait until its process is at work."""
    deployment = prefect.create_deployment(
        prefect.create_flow(a_job), "a-job", entrypoint="a_job.a_job", work_pool_name=POOL, pull_steps=[],
        job_variables={"command": "python -m prefect.engine"},
    )  # fmt: skip
    run = prefect.create_flow_run_from_deployment(deployment)
    wait_for((folder / "begun").exists)
    return run


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def states(prefect: SyncPrefectClient, run: FlowRun) -> list[str | None]:
    return [each.name for each in sorted(prefect.read_flow_run_states(run.id), key=lambda state: state.timestamp)]


def test_runs_that_are_ended_with_their_worker_are_cancelled_and_never_crashed(
    prefect: SyncPrefectClient, worker: Worker, tmp_path: Path
) -> None:
    run = begin(prefect, tmp_path)

    worker.end_runs()
    worker.stop()

    assert (tmp_path / "ended well").exists()
    was = states(prefect, run)
    assert was[-1] == "Cancelled"
    assert "Crashed" not in was, "people would be told"


def test_without_prefect_they_are_told_by_a_signal(
    prefect: SyncPrefectClient, own_prefect: Stack, worker: Worker, tmp_path: Path
) -> None:
    begin(prefect, tmp_path)
    own_prefect.kill("prefect")
    try:
        worker.end_runs()
        assert (tmp_path / "ended well").exists()
    finally:
        own_prefect.start("prefect")
