"""Steps of a look at clusters: look, tell whoever listens what has changed, show it, forget old looks.

They are plain functions. As tasks, they would be half of what each look leaves in Prefect's database.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.events.worker import EventsWorker

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.health.changes import Change, changes, look_of
from redrive.health.judging import Health, judge
from redrive.health.looking import look
from redrive.ledger import Ledger, Look
from tasks import artifacts
from tasks.health_report import headline, report_text

KEPT = 60
"""Good runs of the job that stay in Prefect: it runs each minute, and what it found stands in the artifacts."""
_AT_ONCE = 20
_SEND_SECONDS = 10.0


class Found:
    """What one run has found.

    Attributes:
        healths: of each cluster.
        before: the last look at each; of none, if the ledger does not answer.
    """

    def __init__(self, healths: Sequence[Health]) -> None:
        self.healths = healths
        self.before: dict[str, Look | None] = {}


def look_at_clusters(config: Config, clusters: list[str]) -> Found:
    """Look at clusters and judge them; what does not answer in time is part of what is found."""
    return Found([judge(facts) for facts in look(config, clusters)])


def tell_changes(config: Config, found: Found) -> str:
    """Emit an event for each change since the last look, and enter this look in the ledger.

    In this order, and the look only when Prefect's client has sent the events: if the process dies in between, they go
    out again, which does no harm; the other way round they would be lost.

    Returns:
        Why nobody was told, if the ledger does not answer, or the events could not be sent; empty if all is well.
    """
    log = get_run_logger()
    try:
        with Ledger.open(config.ledger_url()) as ledger:
            for health in found.healths:
                name = health.facts.cluster
                before = found.before[name] = ledger.looks.last(name)
                new = changes(before, health)
                for change in new:
                    log.warning("%s: %s", change.name, headline(health))
                    emit(change)
                if new and not _sent():
                    return "the events of what has changed could not be sent; the next look tries again"
                ledger.looks.enter(look_of(health, before))
    except (UnavailableError, ConfigError) as error:
        log.warning("what has changed is not known, and nobody is told: %s", error)
        return f"what has changed is not known, and nobody is told: {error}"
    return ""


def _sent() -> bool:
    """Wait until the events that were emitted have left this process."""
    waiting = threading.Thread(target=EventsWorker.instance().wait_until_empty, daemon=True)
    waiting.start()
    waiting.join(_SEND_SECONDS)
    return not waiting.is_alive()


def emit(change: Change) -> None:
    """Emit the event of a change."""
    cluster = change.payload["cluster"]
    resource = {"prefect.resource.id": f"redrive.cluster.{cluster}", "prefect.resource.name": cluster}
    emit_event(change.name, resource, payload=change.payload)


def show(found: Found) -> None:
    """Make or change the artifact of each cluster."""
    with get_client(sync_client=True) as client:
        for health in found.healths:
            name = health.facts.cluster
            artifacts.keep(
                client,
                key=artifact_key(name),
                data=report_text(health, found.before.get(name)),
                # A list shows when it was made, which was long ago.
                description=f"{health.facts.at:%H:%M} UTC: {headline(health)}",
                facts={"cluster": name, "verdict": health.verdict, "at": health.facts.at.isoformat()},
            )


def artifact_key(cluster: str) -> str:
    """Give the key of a cluster's artifact."""
    return f"cluster-health-{cluster.replace('_', '-')}"


def forget_old_runs() -> None:
    """Delete good runs of this deployment from Prefect, but for the latest; a run each minute would fill its database.

    Those that have failed stay, as long as Prefect keeps runs at all.
    """
    context = FlowRunContext.get()
    deployment = context.flow_run.deployment_id if context and context.flow_run else None
    if deployment is None:
        return
    good: list[Any] = [StateType.COMPLETED, StateType.CANCELLED]
    old = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=good)),
    )
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=old, sort=FlowRunSort.END_TIME_DESC, offset=KEPT, limit=_AT_ONCE)
        for run in runs:
            client.delete_flow_run(run.id)
