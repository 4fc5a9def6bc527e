"""Steps of a look at clusters: look, tell whoever listens what has changed, show it, forget old looks.

They are plain functions. As tasks, they would be half of what each look leaves in Prefect's database.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from httpx import HTTPError
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.health.changes import changes, look_of
from redrive.health.facts import Standby
from redrive.health.judging import Health, judge
from redrive.health.looking import look
from redrive.health.waiting import read_standby
from redrive.ledger import Ledger, Look
from redrive.ledger.looks import is_late
from redrive.standby.survey import OutOfTimeError
from tasks import artifacts
from tasks.cluster_health.report import headline, report_text
from tasks.telling import about_cluster, send
from tasks.words import cell, count

KEPT = 60
"""Good runs of the job that stay in Prefect: it runs each minute, and what it found stands in the artifacts."""
_AT_ONCE = 20


class Found:
    """What one run has found.

    Attributes:
        healths: of each cluster.
        before: the last look at each; of none, if the ledger does not answer.
        gone: clusters that were looked at once, and have left the settings.
    """

    def __init__(self, healths: Sequence[Health]) -> None:
        self.healths = healths
        self.before: dict[str, Look | None] = {}
        self.gone: list[str] = []


def look_at_clusters(config: Config, clusters: list[str]) -> Found:
    """Look at clusters and judge them; what does not answer in time is part of what is found."""
    found = Found([judge(facts) for facts in look(config, clusters)])
    for health in found.healths:
        for called, traceback in health.tracebacks.items():  # the library's own log stays on the worker
            get_run_logger().error("%s: of %s nothing is known:\n%s", health.facts.cluster, called, traceback)
    return found


def tell_changes(config: Config, found: Found) -> str:
    """Emit an event for each change since the last look, and enter this look in the ledger.

    In this order, and the look only when Prefect's server has taken the events: if the process dies in between, they go
    out again, which does no harm; the other way round they would be lost. A mistake of ours about one cluster keeps
    nothing of the others back.

    Returns:
        Why nobody was told, if the ledger does not answer, or the events could not be sent, or of whom nothing could be
        told; empty if all is well.
    """
    log = get_run_logger()
    untold: list[str] = []
    try:
        with Ledger.open(config.ledger_url()) as ledger:
            for health in found.healths:
                try:
                    found.before[health.facts.cluster] = _tell(ledger, health)
                except (UnavailableError, ConfigError, HTTPError):
                    raise  # of the ledger or Prefect's server, which all of them need
                except Exception as error:
                    log.exception("what has changed at %s can't be told", health.facts.cluster)
                    untold.append(f"{health.facts.cluster} ({type(error).__name__}: {error})")
            found.gone = [name for name in ledger.looks.clusters() if name not in config.clusters]
    except (UnavailableError, ConfigError) as error:
        log.warning("what has changed is not known, and nobody is told: %s", error)
        return f"what has changed is not known, and nobody is told: {error}"
    except HTTPError as error:
        log.warning("the events of what has changed could not be sent; the next look tries again: %r", error)
        return f"the events of what has changed could not be sent; the next look tries again: {error!r}"
    return f"what has changed can't be told, by a fault of ours: {'; '.join(untold)}" if untold else ""


def _tell(ledger: Ledger, health: Health) -> Look | None:
    """Tell of one cluster, enter the look at it, and give the one before."""
    log, name = get_run_logger(), health.facts.cluster
    before = ledger.looks.last(name)
    if before is not None and is_late(health.facts.at, before.at):
        log.info("%s: a later look is known; this one tells nothing", name)
        return before
    new = changes(before, health)
    for change in new:
        log.warning("%s: %s", change.name, headline(health))
    if new:
        send([about_cluster(change.name, name, change.payload) for change in new])
    ledger.looks.enter(look_of(health, before))
    return before


def show(found: Found) -> None:
    """Make or change the artifact of each cluster."""
    with get_client(sync_client=True) as client:
        for health in found.healths:
            name = health.facts.cluster
            artifacts.keep(
                client,
                key=artifact_key(name),
                data=_report(health, found.before.get(name)),
                # A list shows when it was made, which was long ago.
                description=f"{health.facts.at:%H:%M} UTC: {headline(health)}",
                facts={"cluster": name, "verdict": health.verdict, "at": health.facts.at.isoformat()},
            )


def _report(health: Health, before: Look | None) -> str:
    try:
        return report_text(health, before)
    except Exception as error:  # a mistake of ours; it must not hide the other clusters
        get_run_logger().exception("the report of %s can't be written", health.facts.cluster)
        return (
            f"## {headline(health)}\n\nMore can't be shown, by a fault of ours: {type(error).__name__}: {cell(error)}"
        )


def forget_clusters(config: Config, gone: Sequence[str]) -> list[str]:
    """Delete what is shown and known of clusters that have left the settings, in this order: a run may be killed.

    Not of those that events still wait for, which nothing else would tell of; nor while that can't be asked. Neither
    fails a run: clusters of the settings were looked at.

    Returns:
        what is to be said of these.
    """
    waiting: list[str] = []
    for name in gone:
        try:
            waiting += _forget(config, name)
        except (UnavailableError, OutOfTimeError, ConfigError, HTTPError) as error:
            why = str(error) or type(error).__name__  # some of httpx have no words
            get_run_logger().warning("clusters that have left the settings are left to the next look: %s", why)
            waiting.append(f"{name} has left the settings, and can't be forgotten yet: {why}")
            break  # each would wait for the same
        except Exception as error:  # it must not keep the other clusters, nor what a look does after this
            get_run_logger().exception("%s has left the settings, and can't be forgotten", name)
            why = f"{type(error).__name__}: {error}"
            waiting.append(f"{name} has left the settings, and can't be forgotten, by a fault of ours: {why}")
    return waiting


def _forget(config: Config, name: str) -> list[str]:
    """Forget one; give what is to be said of it if that can't be yet."""
    standby = read_standby(config, name)
    with get_client(sync_client=True) as client:
        if standby.diverted:
            return [_left_behind(client, name, standby)]
        artifacts.drop(client, artifact_key(name), {"cluster": name})
    with Ledger.open(config.ledger_url()) as ledger:
        ledger.looks.forget([name])
    get_run_logger().info("%s is not in the settings any more, and forgotten", name)
    return []


def _left_behind(client: SyncPrefectClient, cluster: str, standby: Standby) -> str:
    words = f"{cluster} is not in the settings any more, but has {count(standby.events, 'event')} left to replay"
    text = (
        f"## {words}\n\nPut it back into the settings, with its own brokers or others that are to get them; then "
        f"`redrive run standby-replay --cluster {cluster} --mode run`."
    )
    facts = {"cluster": cluster, "verdict": "unwell", "at": datetime.now(UTC).isoformat()}
    artifacts.keep(client, key=artifact_key(cluster), data=text, description=words, facts=facts)
    return words


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
            with suppress(ObjectNotFound):  # another look was as quick, or Prefect's own vacuum
                client.delete_flow_run(run.id)
