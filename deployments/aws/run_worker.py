"""The worker's container on AWS: ``python -m deployments.aws.run_worker``, in the image, which has no CDK.

Prefect's worker gives up when its server is away for some minutes, and kills its runs when it is told to end. So it is
not the container's first process: this is. It starts the worker again, while its runs go on; told to end, it tells
the runs first, and gives them time.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from deployments.local.process import Launch
from deployments.worker import worker_command, worker_environment
from deployments.worker_process import Worker

LOG = Path("/dev/stdout")
"""What the worker and its runs print goes to the container's log."""
HEALTH_PORT = 8080
HEALTH = {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": str(HEALTH_PORT)}
HEALTH_CHECK = f"import urllib.request as http; http.urlopen('http://127.0.0.1:{HEALTH_PORT}/health', timeout=10)"
"""A program that fails when Prefect's worker says that it does not ask for runs any more, or says nothing."""


def main() -> None:
    """Keep a worker running until SIGTERM or SIGINT."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    watch(Worker(Launch(worker_command("--with-healthcheck"), worker_environment(HEALTH)), LOG), told)


def watch(worker: Worker, told: threading.Event) -> None:
    """Look after a worker until it is told to end; then end its runs, and then itself."""
    while not told.wait(1):
        worker.look_after(_say)
    _say("told to end: the runs under way end first")
    worker.end_runs()
    worker.stop()


def _say(text: str) -> None:
    print(f"redrive: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
