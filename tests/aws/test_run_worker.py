"""The worker's container: what its first process does when ECS tells it to end, and when the worker ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployments.aws.run_worker import HEALTH_CHECK, HEALTH_PORT
from deployments.worker_process import STOP_PATIENCE
from tests.aws.template import Platform

# It starts processes, and one that a busy machine starves of a signal gets a second try; see tests/conftest.py.
pytestmark = pytest.mark.flaky(reruns=1)

ROOT = Path(__file__).parents[2]
# A worker kills its runs when it is told to end, as Prefect's does; a run needs a moment to end well.
RUN = """
import signal, sys, time
def end(*_):
    print("a run is told to end", flush=True)
    time.sleep(1)
    print("a run has ended well", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("a run is under way", flush=True)
time.sleep(600)
"""
WORKER = f"""
import os, signal, subprocess, sys, time
if os.path.exists("started"):  # the first one has died: the next one gets no run, so that there is but one to look at
    time.sleep(600)
open("started", "w").write(str(os.getpid()))
run = subprocess.Popen([sys.executable, "-c", {RUN!r}])
def end(*_):
    print("the worker is told to end", flush=True)
    run.kill()
    sys.exit()
signal.signal(signal.SIGTERM, end)
run.wait()
print("the worker has seen the end of its run", flush=True)
time.sleep(600)
"""
SUPERVISOR = f"""
import sys
from deployments.aws import run_worker
run_worker.worker_command = lambda *options: [sys.executable, "-c", {WORKER!r}]
run_worker.main()
"""


class Container:
    """The first process, and what it and all others have printed."""

    def __init__(self, folder: Path) -> None:
        self._printed = printed = folder / "printed.txt"
        self._worker = folder / "started"
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
        with printed.open("wb") as output:
            # Through a pipe, as on AWS.
            log = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output)
        self._log = log
        self.first = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR], cwd=folder, env=environment, stdout=log.stdin, stderr=log.stdin
        )
        assert log.stdin
        log.stdin.close()

    def kill_worker(self) -> None:
        os.kill(int(self._worker.read_text()), signal.SIGKILL)

    def lines(self) -> list[str]:
        return self._printed.read_text().splitlines()

    def all_lines(self) -> list[str]:
        """Give what was printed when the last of them has ended."""
        self._log.wait(120)
        return self.lines()

    def wait_for(self, done: Callable[[list[str]], bool]) -> None:
        deadline = time.monotonic() + 120
        while not done(self.lines()):
            assert time.monotonic() < deadline, self.lines()
            time.sleep(0.05)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    container = Container(tmp_path)
    try:
        container.wait_for(lambda lines: "a run is under way" in lines)
        yield container
    finally:
        container.first.terminate()
        container.first.wait(120)


def test_told_to_end_it_has_runs_end_well_before_the_worker_ends(container: Container) -> None:
    container.first.send_signal(signal.SIGTERM)
    assert container.first.wait(120) == 0
    assert container.all_lines() == [
        "a run is under way",
        "redrive: told to end: the runs under way end first",
        "a run is told to end",
        "a run has ended well",
        "the worker has seen the end of its run",
        "the worker is told to end",
    ]


def test_told_to_end_it_has_runs_end_well_that_a_worker_which_has_died_has_left(container: Container) -> None:
    """Whether the next worker has been started meanwhile or not."""
    container.kill_worker()
    container.wait_for(lambda lines: any("the next one starts in" in line for line in lines))
    container.first.send_signal(signal.SIGTERM)
    assert container.first.wait(120) == 0
    of_runs = [line for line in container.all_lines() if line.startswith("a run")]
    assert of_runs == ["a run is under way", "a run is told to end", "a run has ended well"]


def test_ecs_gives_it_the_time_that_it_takes_and_replaces_a_worker_that_hangs(platform: Platform) -> None:
    worker = platform.containers()["Worker"]
    assert worker["Command"] == ["python", "-m", "deployments.aws.run_worker"]
    assert worker["LinuxParameters"]["InitProcessEnabled"] is True
    assert worker["StopTimeout"] >= 2 * STOP_PATIENCE + 10
    check = worker["HealthCheck"]
    assert check["Command"] == ["CMD", "python", "-c", HEALTH_CHECK]
    # Longer than Prefect's worker needs to give up and the next one to start: those are well for their first minute.
    assert check["Interval"] * check["Retries"] >= 600


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_its_health_is_what_prefect_s_worker_says(status: int, code: int) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = HEALTH_CHECK.replace(f":{HEALTH_PORT}/", f":{server.server_port}/")
        assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == code
        server.shutdown()
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 1, "nobody answers"
