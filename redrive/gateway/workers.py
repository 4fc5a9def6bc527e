"""Several worker processes, as uvicorn supervises them; but one that can't start again does not end the others.

uvicorn ends all of them then, so a worker that dies while the registry is away, or after a mistake was written into the
settings, would take those with it that serve well.
"""

from __future__ import annotations

import logging
import time
from signal import SIGKILL
from socket import socket

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger(__name__)

PAUSE = 5.0
"""Seconds, at least, between two starts of a worker."""


class Workers(Multiprocess):
    """Starts workers, and each again that has ended, until told to stop, or until none serves and one can't start.

    Attributes:
        failed: whether it has ended because none could serve.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self.failed = False
        self._started: dict[int, float] = {}
        """When the worker of each place was started; the first ones begin without a pause."""

    def keep_subprocess_alive(self) -> None:
        """Look at each worker; called twice a second."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.exitcode is None:
                if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                    continue
                process.kill()  # it has ended just now, or hangs
                process.join()
                how = "did not answer, and was killed" if process.exitcode == -SIGKILL else "has ended"
                log.error("worker %s %s (code %s)", process.pid, how, process.exitcode)
            if process.exitcode == STARTUP_FAILURE and not self._any_serves():
                log.error("no worker can serve: the gateway ends; the lines above say why")
                self.failed = True
                self.should_exit.set()
            elif time.monotonic() - self._started.get(place, float("-inf")) >= PAUSE:
                self._start_again(place)

    def _any_serves(self) -> bool:
        patience = self.config.timeout_worker_healthcheck
        return any(process.exitcode is None and process.is_ready(timeout=patience) for process in self.processes)

    def _start_again(self, place: int) -> None:
        self._started[place] = time.monotonic()
        process = self.processes[place] = Process(self.config, self.sockets)
        process.start()
        log.warning("worker %s is started in its place", process.pid)
