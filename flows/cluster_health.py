"""The job `cluster-health`: how each cluster is, once a minute, and what has changed since the last look."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as runtime
from prefect.states import Completed, Failed

from redrive.config import Config
from tasks.cluster_health.dead_runs import end_dead_runs
from tasks.cluster_health.form import Look
from tasks.cluster_health.report import headline
from tasks.cluster_health.steps import forget_clusters, forget_old_runs, look_at_clusters, show, tell_changes
from tasks.cluster_health.unread import tell_unread

JOB = "cluster-health"


def _run_name() -> str:
    return ", ".join(Look.model_validate(runtime.parameters["look"]).clusters) or "all clusters"


@flow(name=JOB, flow_run_name=_run_name, persist_result=False, timeout_seconds=50)
def cluster_health(look: Look = Look()) -> State[Any]:  # noqa: B008 (nothing changes it)
    """Look at each cluster, show what was found in its artifact, and tell whoever listens what has changed.

    Of clusters it reads only. What does not answer in time is shown as not known; it delays the rest by a few seconds
    at most. Runs of all jobs whose process has died, or never came, are ended in Prefect. It may be cancelled, killed
    or run twice at once.

    Args:
        look: Which clusters to look at.
    """
    config = Config.load()
    clusters = [config.cluster(name).name for name in look.clusters or sorted(config.clusters)]
    found = look_at_clusters(config, clusters)
    untold = tell_changes(config, found)
    tell_unread(config, found.healths)
    show(found)
    left_behind = forget_clusters(config, found.gone)
    forget_old_runs()
    end_dead_runs(config)
    if untold:
        return Failed(message=untold)
    worst = sorted(found.healths, key=lambda health: ("unavailable", "unwell", "well").index(health.verdict))
    lines = [*(headline(health) for health in worst), *left_behind]
    return Completed(message="; ".join(lines) or "there are no clusters")
