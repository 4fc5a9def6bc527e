"""`redrive up --no-local`: on clusters that the settings name, with a Prefect server that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments.local.stack import Stack
from deployments.worker import ROOT
from tests.stack.partners import free_port
from tests.stack.platform import Platform

pytestmark = pytest.mark.timeout(300)


class Up:
    """The command as in a shell of one's own, and what it has printed."""

    def __init__(self, file: Path, data: Path) -> None:
        ours = ("REDRIVE_", "PREFECT_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.data, self._lines = data, list[str]()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from deployments.cli import main; main()", "--config", str(file),
             "up", "--no-local", "--data", str(data), "--ports", "free"],
            env={**environment, "PYTHONPATH": str(ROOT)}, cwd=file.parent, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def wait_for(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.2)

    def worker(self) -> psutil.Process | None:
        for each in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # it has just ended
                if "deployments.worker" in each.cmdline():
                    return each
        return None


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    platform = Platform(stack, tmp_path, monkeypatch)
    with platform.file.open("a") as settings:
        settings.write(f"[jobs]\nadmin_port = {free_port()}\n")
    return platform


@pytest.fixture
def up(platform: Platform, tmp_path: Path) -> Iterator[Up]:
    up = Up(platform.file, tmp_path / "data")
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.process.kill()
        Stack(up.data).down(wipe=True)


def test_jobs_run_on_the_clusters_of_the_settings_also_after_their_worker_was_killed(
    up: Up, platform: Platform, stack: Stack
) -> None:
    up.wait_for(lambda: "their worker runs" in up.said, 120)
    first = up.worker()
    assert first is not None
    first.kill()
    up.wait_for(lambda: "was ended by SIGKILL; the next one starts in 5 s" in up.said, 10)
    up.wait_for(lambda: up.worker() not in (None, first), 20)

    platform.send(platform.dead_letters, [b"a letter"])
    with SyncPrefectClient(Stack.attach(up.data).environment()["PREFECT_API_URL"]) as prefect:
        health = prefect.read_deployment_by_name("cluster-health/cluster-health")
        prefect.create_flow_run_from_deployment(health.id)  # a minute may be long
    (url,) = [word for word in up.said.split() if word.endswith("/metrics")]
    triaged = 'redrive_dead_letters{cluster="one",fate="none",reason="unknown"} 1.0'
    up.wait_for(lambda: triaged in metrics(url), 90)

    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(90) == 0
    assert stack.runs(), "clusters that it has not started stay"


def metrics(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())
