"""Runs whose process has died are ended in Prefect by the next look at clusters, and no others: on a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running, Suspended

from deployments.local.stack import Stack
from deployments.worker import ROOT
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


@flow(name="dlq-triage")
def a_job() -> None:
    pass


@flow(name="cluster-health")
def a_look() -> None:
    pass


@flow(name="somebody-s-own")
def somebody_s() -> None:
    pass


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
