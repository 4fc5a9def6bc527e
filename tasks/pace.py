"""The pace of a run that is under way: a Prefect variable that the run makes, follows and takes away again.

Each run has its own, named after the flow run, so that what somebody sets for one run can never surprise the next. It
may be changed in Prefect's UI, by its API, or by ``redrive pace``; its value is ``{"rate": 500, "paused": false}``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Protocol

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

LOOK_EVERY = 2.0  # seconds
BY = "pace"


class Pace(BaseModel):
    """How fast a run may go: what its variable holds."""

    model_config = ConfigDict(extra="forbid")

    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    paused: bool = False

    def __str__(self) -> str:
        return self.told()

    def told(self, unit: str = "events/s") -> str:
        """Say it in words; ``unit`` is that of the rate."""
        if self.paused:
            return "paused"
        return "full speed" if self.rate is None else f"at most {self.rate:,g} {unit}"


class Paced(Protocol):
    """What has a pace: a `redrive.pump.governor.Governor`, or something like it."""

    @property
    def rate(self) -> float | None:
        """How fast it may go."""
        ...

    @rate.setter
    def rate(self, rate: float | None) -> None: ...

    def pause(self, reason: str, by: str) -> None:
        """Hold everything until whoever paused resumes."""
        ...

    def resume(self, by: str) -> None:
        """Take back one's reason to hold."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """A change of pace in mid-run.

    Attributes:
        at: seconds since 1970.
        pace: the pace from then on.
    """

    at: float
    pace: Pace


def variable_name(job: str, run_id: str) -> str:
    """Give the name of a run's variable."""
    return f"redrive_pace_{job.replace('-', '_')}_{run_id}"


class PaceControl:
    """Applies a run's variable to its governor. A rate that is not taken is asked for again at the next look.

    Attributes:
        name: of the variable.
        pace: what applies now.
        changes: what was changed in mid-run, in order.
        complaint: why the variable's value is not followed; empty if it is.
    """

    def __init__(
        self, job: str, run_id: str, governor: Paced, rate: float | None, on_change: Callable[[Pace], None]
    ) -> None:
        self.name = variable_name(job, run_id)
        self.pace = Pace(rate=rate)
        self.changes: list[Change] = []
        self.complaint = ""
        self._job, self._run_id = job, run_id
        self._governor = governor
        self._on_change = on_change
        self._looked_at = 0.0

    def begin(self, client: SyncPrefectClient) -> None:
        """Make the variable."""
        forget(client, self._job, self._run_id)  # an earlier attempt of this very run may have left one
        client.create_variable(
            VariableCreate(name=self.name, value=self.pace.model_dump(), tags=["redrive", self._job])
        )

    def end(self, client: SyncPrefectClient) -> None:
        """Take the variable away."""
        forget(client, self._job, self._run_id)

    def look(self, client: SyncPrefectClient) -> None:
        """Follow the variable, if it is time to look again. One that was deleted changes nothing."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        variable = client.read_variable_by_name(self.name)
        if variable is None:
            return
        try:
            pace = Pace.model_validate(variable.value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            self.complaint = f"variable {self.name}: {where + ': ' if where else ''}{first['msg']}"
            return
        self.complaint = ""
        if pace != self.pace:
            self._apply(pace)

    def _apply(self, pace: Pace) -> None:
        self._governor.rate = pace.rate
        if pace.paused:
            self._governor.pause(f"paused by the variable {self.name}", BY)
        else:
            self._governor.resume(BY)
        taken = Pace(rate=self._governor.rate, paused=pace.paused)
        if taken != self.pace:
            self.pace = taken
            self.changes.append(Change(time.time(), taken))
            self._on_change(taken)


def running(client: SyncPrefectClient, job: str) -> list[str]:
    """Give the names of the variables of the runs of a job that are under way."""
    names = [variable_name(job, str(run.id)) for run in _runs(client, job, StateType.RUNNING)]
    return [name for name in names if client.read_variable_by_name(name) is not None]


def paused(client: SyncPrefectClient, job: str) -> list[FlowRun]:
    """Give the runs of a job that Prefect has as paused: also those that wait for approval."""
    return _runs(client, job, StateType.PAUSED)


def _runs(client: SyncPrefectClient, job: str, state: StateType) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[job])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state]))),
    )


def set_pace(client: SyncPrefectClient, name: str, pace: Pace) -> bool:
    """Set the pace of a run that is under way; False if it has ended meanwhile."""
    try:
        client.update_variable(VariableUpdate(name=name, value=pace.model_dump()))
    except PrefectHTTPStatusError as error:
        if error.response.status_code == 404:
            return False
        raise
    return True


def forget(client: SyncPrefectClient, job: str, run_id: str) -> None:
    """Take away the variable of a run that has ended, if it is there."""
    with suppress(ObjectNotFound):
        client.delete_variable_by_name(variable_name(job, run_id))
