"""A worker that has ended is replaced, and what it has left goes with the others at the end."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deployments import up, worker_process
from deployments.local.process import Launch
from deployments.worker_process import Worker

WITH_A_RUN = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    started: list[Worker] = []

    def start(program: str) -> Worker:
        started.append(Worker(Launch([sys.executable, "-c", program], {}), tmp_path / "worker.log"))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def runs(worker: Worker, number: int) -> list[int]:
    """Give the runs that the worker, and those before it, have started, as soon as there are so many."""
    deadline = time.monotonic() + 20
    while len(found := worker.log.read_text().split()) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(pid) for pid in found]


def runs_still(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def look(worker: Worker, told: list[str], done: Callable[[], bool]) -> None:
    """Look after the worker as `redrive up` does, but more often."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        worker.look_after(told.append)
        time.sleep(0.01)


def test_a_worker_that_is_killed_is_replaced_after_a_pause_and_its_runs_go_on(
    start: Callable[[str], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "PAUSE", 0.5)
    worker = start(WITH_A_RUN)
    (first,), killed = runs(worker, 1), worker.identity
    worker.look_after(lambda told: pytest.fail(f"it runs, but: {told}"))
    began = time.monotonic()
    (process := killed.process()) and process.kill()
    told: list[str] = []
    look(worker, told, lambda: worker.identity != killed)
    assert ["was ended by SIGKILL; the next one starts in 0.5 s" in each for each in told] == [True]
    assert time.monotonic() - began >= 0.5
    assert worker.identity.process() is not None
    assert runs_still(first)

    second = runs(worker, 2)[1]
    worker.stop()
    assert worker.identity.process() is None
    assert not [pid for pid in (first, second) if runs_still(pid)], "what it has started ends with it"


DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
print("begun", flush=True)
while True:
    time.sleep(0.1)
"""


def test_runs_are_told_to_end_and_a_second_ctrl_c_ends_them_at_once(start: Callable[[str], Worker]) -> None:
    worker = start(f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {DEAF!r}]); time.sleep(600)")

    def said(word: str) -> None:
        deadline = time.monotonic() + 20
        while word not in worker.log.read_text().split():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def press() -> None:
        said("told")
        os.kill(os.getpid(), signal.SIGINT)

    said("begun")
    family = worker._family()
    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        up._end_runs(worker)
    _, left = psutil.wait_procs(family, timeout=20)
    assert len(family) == 2
    assert not left


def test_one_that_ends_again_and_again_is_started_less_and_less_often(
    start: Callable[[str], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "PAUSE", 0.05)
    worker, told = start("raise SystemExit(1)"), list[str]()
    look(worker, told, lambda: len(told) == 3)
    assert [pause for each in told for pause in re.findall(r"code 1; the next one starts in (\S+) s", each)] == [
        "0.05", "0.1", "0.2",
    ]  # fmt: skip


def test_somebody_else_s_process_that_got_the_number_of_a_worker_of_before_is_left_alone() -> None:
    ours, session = psutil.Process(), os.getsid(0)
    assert worker_process._is_left(ours, {session: time.time()})
    assert not worker_process._is_left(ours, {session: ours.create_time() - 60})
    assert not worker_process._is_left(ours, {})
