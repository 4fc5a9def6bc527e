"""The worker that runs the jobs: makes their work pool, deploys them, and starts them when Prefect says so.

``python -m deployments.worker`` is one that ends with the process that started it, with everything it has started.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from deployments.deploy import ROOT, deploy_all
from deployments.local.process import Identity, Launch, tail
from deployments.worker_process import Worker, send
from redrive.config.reading import FILE
from redrive.errors import RedriveError, UnavailableError

POOL = "redrive"
START_TIMEOUT = 120.0

_SETTINGS = {
    # Prefect's own 10 s is how long a run that somebody waits for would lie there.
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    # Each run is a process that imports Prefect: 3.5 s from source, 1.3 s compiled.
    "PYTHONDONTWRITEBYTECODE": "",
    # A platform's own worker tells nobody outside that it works.
    "DO_NOT_TRACK": "1",
}


class WorkerError(RedriveError):
    """The worker did not come up, or the jobs could not be deployed.

    Attributes:
        doing: what failed.
        reason: the end of what it printed.
        log: where the rest is.
    """

    def __init__(self, doing: str, reason: str, log: Path) -> None:
        self.doing, self.reason, self.log = doing, reason, log
        super().__init__(f"{doing} failed: {reason} (more in {log})")


def start_worker(
    environment: Mapping[str, str],
    log: Path,
    *,
    report: Callable[[str], None] | None = None,
) -> Worker:
    """Deploy all jobs and start a worker for them; returns when both are done.

    The worker ends with this process, even if that is killed. One that ends before is started again only by whoever
    calls `Worker.look_after`.

    Args:
        environment: points at Prefect and at the platform; see `deployments.local.stack.Stack.environment`.
        log: what the worker, the deploying and the runs print goes there.
        report: told what is going on.

    Raises:
        UnavailableError: Prefect's server does not answer.
        WorkerError: the worker or the deploying has failed.
    """
    environment = worker_environment(environment)
    url = environment.get("PREFECT_API_URL") or os.environ.get("PREFECT_API_URL", "")
    say = report or (lambda _: None)
    say("starting the worker")
    create_pool(url)
    worker = Worker(Launch(worker_command(), environment), log)
    try:
        say("deploying the jobs")
        deploy(environment, log)
        _wait_online(url, worker)
    except BaseException:
        worker.kill()
        raise
    return worker


def worker_command(*options: str) -> list[str]:
    """Give the command of a worker that ends with this process; ``options`` are of `prefect worker start`."""
    owner = Identity.of(os.getpid())
    return [sys.executable, "-m", "deployments.worker", str(owner.pid), str(owner.created), *options]


def worker_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a worker, and so that of its runs.

    What PYTHONPATH has stays in it: `opentelemetry-instrument` has programs set up by what it puts there. Runs begin in
    a folder of their own, so the settings are named: the repository's, unless others are.
    """

    def before(name: str, first: Path) -> str:
        return os.pathsep.join(filter(None, [str(first), given.get(name, os.environ.get(name))]))

    # `python` in the deployments' command is the one that this runs in.
    paths = {"PYTHONPATH": before("PYTHONPATH", ROOT), "PATH": before("PATH", Path(sys.executable).parent)}
    settings = ROOT / (given.get("REDRIVE_CONFIG") or os.environ.get("REDRIVE_CONFIG") or FILE)
    return {**given, **_SETTINGS, **paths, "REDRIVE_CONFIG": str(settings)}


def create_pool(url: str) -> None:
    """Make the work pool, if there is none.

    Raises:
        UnavailableError: Prefect's server does not answer.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    try:
        with SyncPrefectClient(url) as client:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    except ObjectAlreadyExists:
        pass
    except HTTPError as error:
        raise UnavailableError(f"Prefect {url}", f"making the work pool {POOL}: {error!r}") from error


def deploy(environment: Mapping[str, str], log: Path) -> None:
    """Make or update every deployment in ``prefect.yaml``; what somebody has switched on or off there stays so.

    Raises:
        WorkerError: it failed.
    """
    from prefect.client.orchestration import SyncPrefectClient

    url = environment.get("PREFECT_API_URL") or os.environ.get("PREFECT_API_URL", "")
    deploying = log.with_name("deploy.log")
    deploying.parent.mkdir(parents=True, exist_ok=True)
    with SyncPrefectClient(url) as client, deploying.open("ab") as output:
        code = deploy_all(client, environment, output)
    if code:
        raise WorkerError("deploying the jobs", tail(deploying), deploying)


def _wait_online(url: str, worker: Worker) -> None:
    from prefect.client.orchestration import SyncPrefectClient

    deadline = time.monotonic() + START_TIMEOUT
    with SyncPrefectClient(url) as client:
        while True:
            if worker.identity.process() is None:
                raise WorkerError("starting the worker", tail(worker.log), worker.log)
            response = client.request(
                "POST",
                "/work_pools/{work_pool_name}/workers/filter",
                path_params={"work_pool_name": POOL},
                json={},
            )
            if any(each["status"] == "ONLINE" for each in response.json()):
                return
            if time.monotonic() > deadline:
                raise WorkerError("starting the worker", f"it is not online after {START_TIMEOUT:.0f} s", worker.log)
            time.sleep(0.3)


def main(owner: Identity, options: Sequence[str]) -> None:
    """Be a worker, until its owner ends; the options are of `prefect worker start`."""
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()
    # A shell that starts a program in the background has it ignore this signal, and Prefect ends a worker by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from prefect.cli import app

    name = f"redrive-{os.getpid()}"
    # Without --limit: a worker that has one dies when a run is resumed whose process has not quite ended
    # (PrefectHQ/prefect#16806), as happens to whoever approves a plan at once.
    sys.argv = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", name, *options]
    app()


def _end_with(owner: Identity) -> None:
    if process := owner.process():
        process.wait()
    me = psutil.Process()
    for each in (*me.children(recursive=True), me):
        send(each, signal.SIGKILL)


if __name__ == "__main__":
    main(Identity(int(sys.argv[1]), float(sys.argv[2])), sys.argv[3:])
