"""Programs as processes that start at once, and that are restarted whenever they were killed."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

# A server that has all modules loaded forks each program: a restart costs no imports.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.warm"])


def start(main: Callable[[Any], None], job: Any) -> ForkServerProcess:
    """Start a program, once."""
    process = _context.Process(target=main, args=(job,), daemon=True)
    process.start()
    return process


def enter(log: Path) -> None:
    """Begin a program: its output goes to a log, and the settings come from its file alone."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    for variable in [name for name in os.environ if name.startswith("REDRIVE_")]:
        del os.environ[variable]
    os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(threadName)s %(message)s")
    faulthandler.register(signal.SIGUSR1, all_threads=True)


class Program:
    """One program through its lives.

    Attributes:
        name: such as ``a``; its lives are ``a.1``, ``a.2``, …
        lives: how many have begun.
        kills: how its lives ended by kill -9: ``who`` did it.
        failure: why it ended otherwise, if it did not end well.
    """

    def __init__(self, name: str, main: Callable[[Any], None], job: Callable[[str, int], Any]) -> None:
        """Args: job: makes the job of a life from its name and number."""
        self.name = name
        self.lives = 0
        self.kills: list[str] = []
        self.failure = ""
        self._main, self._job = main, job
        self._process: ForkServerProcess | None = None
        self._killed_by = ""
        self._frozen = False

    @property
    def life(self) -> str:
        return f"{self.name}.{self.lives}"

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.exitcode is None

    def start(self) -> None:
        self.lives += 1
        self._killed_by = ""
        self._frozen = False
        self._process = start(self._main, self._job(self.life, self.lives))

    def watch(self) -> bool:
        """Start it again if it was killed; False once it has ended by itself."""
        if self._process is None or self._process.exitcode is None:
            return True
        code = self._process.exitcode
        if code == -signal.SIGKILL:
            self.kills.append(self._killed_by or "fuse")
            self.start()
            return True
        if code != 0:
            self.failure = f"{self.life} ended with code {code}"
        return False

    def kill(self, by: str) -> None:
        self._killed_by = by
        self._send(signal.SIGKILL)
        if self._process is not None:
            self._process.join(10)

    def freeze(self) -> None:
        self._frozen = True
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._send(signal.SIGCONT)

    def dump(self) -> None:
        """Have its threads' stacks written to its log."""
        self._send(signal.SIGUSR1)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.exitcode is None and self._process.pid:
            os.kill(self._process.pid, number)
