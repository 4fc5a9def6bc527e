"""Starting a deployed job through Prefect's API, and following its run to the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, FlowRun, State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

from redrive.errors import ConfigError, UnavailableError
from tasks.approval import is_asking
from tasks.ending import PLAN, REPORT, Word
from tasks.live import PROGRESS
from tasks.operations import WHO_LABEL
from tasks.paused import is_paused

EVERY = 0.5
NOBODY = 60.0
"""Seconds after which a run that no worker has taken is given up on."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to say about a run now.

    Attributes:
        state: its state.
        progress: percent of 100, if it is working.
        line: how far it is, in words.
        asks: whether it waits for somebody's approval.
        paused: whether somebody has paused it, and it has stopped.
    """

    state: State[Any]
    progress: float | None
    line: str
    asks: bool
    paused: bool


@dataclass(frozen=True, slots=True)
class End:
    """How a run has ended.

    Attributes:
        word: how, in one word, such as ``proved``, ``planned`` or ``refused``.
        good: whether it did what it was to do.
        message: the verdict in a line.
        facts: what its reports say, for programs.
    """

    word: str
    good: bool
    message: str
    facts: dict[str, str]


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """Connect to Prefect's API as its settings say; never starts a server of its own.

    Raises:
        ConfigError: no API is set, or it refuses what is asked.
        UnavailableError: it does not answer.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise ConfigError("PREFECT_API_URL", "is not set; it says where Prefect is, such as http://127.0.0.1:24200/api")
    try:
        with SyncPrefectClient(url) as client:
            yield client
    except PrefectHTTPStatusError as error:
        if error.response.status_code >= 500:
            raise UnavailableError(f"Prefect {url}", f"it says {error.response.status_code}") from error
        raise ConfigError("Prefect", _refusal(error.response)) from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise UnavailableError(f"Prefect {url}", f"{reason}; start it, or set PREFECT_API_URL") from error


def start(client: SyncPrefectClient, job: str, parameters: dict[str, Any], who: str) -> FlowRun:
    """Start a job by its deployment.

    Raises:
        ConfigError: the job is not deployed.
    """
    try:
        deployment = client.read_deployment_by_name(f"{job}/{job}")
    except ObjectNotFound as error:
        reason = f"the job {job} is not deployed there; deploy it: `redrive deploy`"
        raise ConfigError("Prefect", reason) from error
    return client.create_flow_run_from_deployment(deployment.id, parameters=parameters, labels={WHO_LABEL: who})


def follow(client: SyncPrefectClient, run_id: UUID, tell: Callable[[Moment], None], *, nobody: float = NOBODY) -> End:
    """Follow a run to its end.

    Args:
        client: Prefect's API.
        run_id: the flow run.
        tell: hears how far it is, about twice a second.
        nobody: seconds that a worker has to take it, also each time that it goes on after an approval.

    Raises:
        UnavailableError: no worker has taken it. It stays there for one that comes later.
    """
    deadline = None
    while True:
        run = client.read_flow_run(run_id)
        state = run.state
        assert state is not None
        if state.is_final():
            return _end(client, run_id, state)
        if not state.is_scheduled():
            deadline = None
        elif deadline is None:
            deadline = time.monotonic() + nobody
        elif time.monotonic() > deadline:
            reason = f"no worker has taken the run within {nobody:.0f} s; it waits for one. Start a worker: "
            raise UnavailableError(
                f"work pool {run.work_pool_name}", f"{reason}prefect worker start --pool {run.work_pool_name}"
            )
        found = artifacts_of(client, run_id) if state.is_running() else {}
        artifact = next((found[key] for key in found if key.endswith(PROGRESS)), None)
        progress = float(artifact.data) if artifact and isinstance(artifact.data, int | float) else None
        line = (artifact.description or "") if artifact else ""
        tell(Moment(state, progress, line, is_asking(run), is_paused(run)))
        time.sleep(EVERY)


def run_url(run_id: UUID) -> str:
    """Say where people can look at a run; empty if there is no such place."""
    ui = PREFECT_UI_URL.value()
    return f"{ui}/runs/flow-run/{run_id}" if ui else ""


def _end(client: SyncPrefectClient, run_id: UUID, state: State[Any]) -> End:
    artifacts = artifacts_of(client, run_id)
    reports = [artifacts[key] for ending in (PLAN, REPORT) for key in artifacts if key.endswith(ending)]
    facts = {name: value for report in reports for name, value in (report.metadata_ or {}).items()}
    message = state.message or ""
    word, colon, _ = message.partition(": ")
    return End(
        word if colon and word in get_args(Word) else str(state.name).lower(), state.is_completed(), message, facts
    )


def artifacts_of(client: SyncPrefectClient, run_id: UUID) -> dict[str, Artifact]:
    """Give a run's newest artifact of each key."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id])), limit=200
    )
    found.sort(key=lambda artifact: str(artifact.created))
    return {artifact.key: artifact for artifact in found if artifact.key}


def _refusal(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail", response.text)
    except ValueError:
        detail = response.text
    return f"refuses the request ({response.status_code}): {detail}"
