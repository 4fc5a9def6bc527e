"""Runs that have died with their worker, or their machine: Prefect has them as *Running* until somebody ends them.

Prefect's own way, an automation for heartbeat events that stay out, takes healthy runs for dead when its server was
away (docs/decisions.md). The ledger has signs of life, too, and they do not go through that server.

So it has those as *Pending* that were yet to begin then: no other worker takes them. Those that somebody cancels
meanwhile need nothing: its server ends them, five minutes later.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
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
    WorkPoolFilter,
    WorkPoolFilterType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run as runtime
from prefect.states import Completed, Crashed

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.ledger import Ledger
from redrive.ledger.holds import TTL
from redrive.ledger.runs import LastSign
from tasks.operations import attempts_of
from tasks.pace import forget

QUIET = timedelta(minutes=5)
"""So long a run may show no sign of life before it is watched: longer than it takes to end. Twice as long, to begin:
its process, without an answer of Prefect's server, gives up sooner than that."""
JOBS = [
    "standby-replay", "dlq-triage", "dlq-correction", "partition-rebalance", "broker-scaling", "schema-backfill",
    "cluster-health",
]  # fmt: skip
LOOKS = "redrive-health"
"""The tag of runs of cluster-health: they are not in the ledger, and each is over within a minute."""
TAGS = ["redrive", LOOKS]
"""Of our deployments. Other flows may have them, too."""


@dataclass(frozen=True, slots=True)
class _Signs:
    """What a run has shown of itself last; the same ones, with time between, mean that it is dead.

    Attributes:
        state: id of its state in Prefect.
        since: when it came to that.
        ledger: what the ledger has; None if it knows no such run.
        begun: a process was at work for it in that state; else a worker was about to start one.
    """

    state: UUID
    since: datetime
    ledger: LastSign | None
    begun: bool = True

    @property
    def last(self) -> datetime:
        """When it was last known to be alive."""
        return self.since if self.ledger is None else max(self.since, self.ledger.at)

    def are_old(self, quiet: timedelta) -> bool:
        """Say whether the run is to be watched."""
        return self.last < datetime.now(UTC) - (quiet if self.begun else 2 * quiet)


def end_dead_runs(config: Config, quiet: timedelta = QUIET, watch: float = TTL) -> list[str]:
    """Have Prefect show as ended what it has as *Running* and is not: as *Crashed*, if the process has died.

    Clocks only say whom to watch; dead is who is at work by the ledger and shows no sign of life meanwhile. Runs that
    this ledger does not know are left alone. Without the ledger none is ended.

    As *Crashed*, too, what is yet to begin, if it is to be a process of its worker's: that begins within seconds, or
    never. One that begins after all is *Running* then, as if nothing was. A container may have to wait for its machine,
    for days; so whatever is of a pool of another type is left.

    Args:
        config: the platform.
        quiet: so long without a sign of life, and a run is watched.
        watch: seconds.

    Returns:
        The ids of those that were ended.
    """
    try:
        with get_client(sync_client=True) as client, Ledger.open(config.ledger_url()) as ledger:
            runs = [*_running(client), *_beginning(client)]
            seen = {run.id: signs for run in runs if (signs := _signs(ledger, run)) is not None}
            suspects = {id_: signs for id_, signs in seen.items() if signs.are_old(quiet)}
            if not suspects:
                return []
            time.sleep(watch)
            return [str(id_) for id_, before in suspects.items() if _is_ended(client, ledger, id_, before)]
    except (UnavailableError, ConfigError, HTTPError) as error:
        get_run_logger().warning("whether runs have died is not known, and left to the next look: %r", error)
        return []


def _is_ended(client: SyncPrefectClient, ledger: Ledger, run_id: UUID, before: _Signs) -> bool:
    """End a run that has shown nothing since; say whether it was. Of what can't be ended, others are not kept."""
    try:
        run = client.read_flow_run(run_id)
        if _signs(ledger, run) != before:
            return False
        state = _end(before)
        # Not by force: a run that has come to its end just now keeps that, and one that works on its pace.
        if client.set_flow_run_state(run_id, state).status != SetStateStatus.ACCEPT:
            return False
        if before.ledger is not None:
            forget(client, before.ledger.job, str(run_id))
    except (ObjectNotFound, PrefectHTTPStatusError) as error:
        get_run_logger().warning("run %s shows no sign of life, and can't be ended: %r", run_id, error)
        return False
    get_run_logger().warning("run %s (%s): %s", run.name, run_id, state.message)
    return True


def _end(signs: _Signs) -> State[Any]:
    """Say how a run has ended that is not at work."""
    if not signs.begun:
        taken = f"a worker took it at {signs.since:%Y-%m-%d %H:%M} UTC, and has died, or its process has"
        return Crashed(message=f"it never began: {taken}; retry it, or run it again")
    sign = signs.ledger
    if sign is not None and sign.status != "running":
        message = f"it had ended in the ledger as {sign.status}, and Prefect was not told"
        return Completed(message=message) if sign.status == "done" else Crashed(message=message)
    message = f"its process died: no sign of life since {signs.last:%Y-%m-%d %H:%M} UTC"
    return Crashed(message=message if sign is None else f"{message}; started again, the job goes on where it was")


def _running(client: SyncPrefectClient) -> list[FlowRun]:
    """Give our runs that a process is to be at work for."""
    return _runs(client, StateType.RUNNING)


def _beginning(client: SyncPrefectClient) -> list[FlowRun]:
    """Give our runs that a worker is to start a process for, on its own machine."""
    return _runs(client, StateType.PENDING, WorkPoolFilter(type=WorkPoolFilterType(any_=["process"])))


def _runs(client: SyncPrefectClient, state: StateType, pools: WorkPoolFilter | None = None) -> list[FlowRun]:
    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=JOBS)),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])),
            tags=FlowRunFilterTags(any_=TAGS),
        ),
        work_pool_filter=pools,
    )
    return [run for run in runs if str(run.id) != runtime.id]  # not this one


def _signs(ledger: Ledger, run: FlowRun) -> _Signs | None:
    """Give the signs of a run; None of one that nothing can be known of: such as of another ledger."""
    sign = ledger.last_sign(attempts_of(str(run.id)))
    if run.state is None:
        return None
    begun = not run.state.is_pending()
    if begun and sign is None and LOOKS not in run.tags:
        return None
    return _Signs(run.state.id, run.state.timestamp, sign, begun)
