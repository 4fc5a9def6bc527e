"""``redrive metrics``."""

from __future__ import annotations

import signal
import threading

from redrive.cli.output import note
from redrive.config import Config


def metrics() -> None:
    """Tell Prometheus what the ledger knows, until told to stop, where `[jobs]` admin_host and admin_port say.

    How clusters are, what waits, dead letters, and how the last run of each job has ended. `redrive up` does this by
    itself; one of these is enough for all workers. Exit code 3 if the port is taken.
    """
    from redrive.metrics import served

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with served(Config.load()) as url:
        note(f"metrics: {url}")
        stopped.wait()
