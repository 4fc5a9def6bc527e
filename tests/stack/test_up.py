"""`redrive up --no-local`: on clusters that the settings name, with a Prefect server that it starts."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments.follow import start
from deployments.local.stack import Stack
from redrive.ledger import Ledger
from tests.stack.partners import free_port
from tests.stack.platform import Platform
from tests.stack.up_command import Up

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    platform = Platform(stack, tmp_path, monkeypatch)
    with platform.file.open("a") as settings:
        settings.write(f"[jobs]\nadmin_port = {free_port()}\n")
    return platform


@pytest.fixture
def up(platform: Platform, tmp_path: Path) -> Iterator[Up]:
    up = Up(platform.file, tmp_path / "data", "--no-local", "--ports", "free")
    try:
        yield up
    finally:
        up.clean_up()


def test_jobs_run_on_the_clusters_of_the_settings_also_after_their_worker_was_killed(
    up: Up, platform: Platform, stack: Stack
) -> None:
    up.wait_for(lambda: "their worker runs" in up.said)
    first = up.worker()
    assert first is not None
    first.kill()
    up.wait_for(lambda: "was ended by SIGKILL; the next one starts in 5 s" in up.said)
    up.wait_for(lambda: up.worker() not in (None, first))

    platform.send(platform.dead_letters, [b"a letter"])
    with SyncPrefectClient(Stack.attach(up.data).environment()["PREFECT_API_URL"]) as prefect:
        health = prefect.read_deployment_by_name("cluster-health/cluster-health")
        assert not health.pull_steps, "runs go to no folder that only this machine has"
        prefect.create_flow_run_from_deployment(health.id)  # a minute may be long
    (url,) = [word for word in up.said.split() if word.endswith("/metrics")]
    triaged = 'redrive_dead_letters{cluster="one",fate="none",reason="unknown"} 1.0'
    up.wait_for(lambda: triaged in metrics(url))

    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(120) == 0
    assert stack.runs(), "clusters that it has not started stay"


def test_ctrl_c_lets_runs_end_by_themselves_and_say_so_in_the_ledger(up: Up, platform: Platform) -> None:
    with platform.file.open("a") as settings:
        # A run that measures how busy brokers are for ten minutes.
        settings.write('[clusters.one.fleet]\nkind = "command"\n')
        settings.write("load = ['echo', '{\"1\": 5}']\nadd = ['true', '{brokers}']\n")
    up.wait_for(lambda: "their worker runs" in up.said)
    with SyncPrefectClient(Stack.attach(up.data).environment()["PREFECT_API_URL"]) as prefect:
        given = {"mode": "run", "cluster": "one", "window": 600}
        run = start(prefect, "broker-scaling", {"scale": given}, "anna")

    def status() -> str:
        with Ledger.open(platform.config.ledger_url()) as ledger:
            return ledger.operation(str(run.id)).status if ledger.has(str(run.id)) else ""

    up.wait_for(lambda: status() == "running")
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(120) == 0
    assert "the runs under way end first" in up.said
    assert status() == "cancelled"
    # Else Prefect has it crash, and people are told.
    assert "Flow run was cancelled" in (up.data / "logs" / "worker.log").read_text()


def metrics(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())
