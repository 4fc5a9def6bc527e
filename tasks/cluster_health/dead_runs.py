"""Runs that have died with their worker, or their machine: Prefect has them as *Running* until somebody ends them.

Prefect's own way, an automation for heartbeat events that stay out, takes healthy runs for dead when its server was
away (docs/decisions.md). The ledger has signs of life, too, and they do not go through that server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from httpx import HTTPError
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run as runtime
from prefect.states import Crashed

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.ledger import Ledger
from redrive.ledger.holds import TTL
from redrive.ledger.runs import LastSign
from tasks.operations import attempts_of
from tasks.pace import forget

QUIET = timedelta(minutes=5)
"""So long a run that the ledger knows may show no sign of life before it is watched: longer than it takes to end."""
UNBEGUN = timedelta(hours=1)
"""The same of one that the ledger does not know: its container may have to wait for a machine."""
JOBS = [
    "standby-replay", "dlq-triage", "dlq-correction", "partition-rebalance", "broker-scaling", "schema-backfill",
    "cluster-health",
]  # fmt: skip
TAGS = ["redrive", "redrive-health"]
"""Of our deployments. Other flows may have them, too, and their runs are not in the ledger."""


@dataclass(frozen=True, slots=True)
class _Signs:
    """What a run has shown of itself last; the same two times, with time between, means that it is dead.

    Attributes:
        state: id of its state in Prefect.
        since: when it came to that.
        ledger: what the ledger has; None if the run has not got there.
    """

    state: UUID
    since: datetime
    ledger: LastSign | None

    @property
    def last(self) -> datetime:
        """When it was last known to be alive."""
        return self.since if self.ledger is None else max(self.since, self.ledger.at)


def end_dead_runs(
    config: Config, quiet: timedelta = QUIET, unbegun: timedelta = UNBEGUN, watch: float = TTL
) -> list[str]:
    """Have Prefect show runs as *Crashed* that are dead; what they hold in the ledger the next run takes over.

    Clocks only say whom to watch; dead is who shows no sign of life while it is watched. Without the ledger nobody is.

    Args:
        config: the platform.
        quiet: so long without a sign of life, and a run is watched.
        unbegun: the same of one that has not come to the ledger.
        watch: seconds.

    Returns:
        The ids of those that were ended.
    """
    try:
        with get_client(sync_client=True) as client, Ledger.open(config.ledger_url()) as ledger:
            seen = {run.id: _signs(ledger, run) for run in _under_way(client)}
            now = datetime.now(UTC)
            suspects = {
                id_: signs
                for id_, signs in seen.items()
                if signs.last < now - (unbegun if signs.ledger is None else quiet)
            }
            if not suspects:
                return []
            time.sleep(watch)
            return [str(id_) for id_, before in suspects.items() if _end_if_dead(client, ledger, id_, before)]
    except (UnavailableError, ConfigError, HTTPError) as error:
        get_run_logger().warning("whether runs have died is not known, and left to the next look: %r", error)
        return []


def _end_if_dead(client: SyncPrefectClient, ledger: Ledger, run_id: UUID, before: _Signs) -> bool:
    try:
        run = client.read_flow_run(run_id)
    except ObjectNotFound:
        return False
    if run.state is None or _signs(ledger, run) != before:
        return False
    message = f"its process died: no sign of life since {before.last:%Y-%m-%d %H:%M} UTC"
    if before.ledger is not None:
        message += "; a new run goes on with its work"
        forget(client, before.ledger.job, before.ledger.id)
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    get_run_logger().warning("run %s (%s): %s", run.name, run.id, message)
    return True


def _under_way(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """Give our runs that a process is to be at work for, but for this one. One that is suspended has none."""
    working = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=JOBS)),
        flow_run_filter=FlowRunFilter(state=working, tags=FlowRunFilterTags(any_=TAGS)),
    )
    yield from (run for run in runs if str(run.id) != runtime.id)


def _signs(ledger: Ledger, run: FlowRun) -> _Signs:
    assert run.state is not None
    return _Signs(run.state.id, run.state.timestamp, ledger.last_sign(attempts_of(str(run.id))))
