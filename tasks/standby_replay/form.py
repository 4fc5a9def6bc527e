"""The form of `standby-replay`: what a person, a schedule, or an event asks of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tasks.pump_form import ProtectConsumers, Verify, patience_field, rate_field
from tasks.standby_replay.plan import JOB


class Replay(BaseModel):
    """What to replay, and how."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[
        Literal["plan", "run"],
        Field(title="Mode", description="plan: only show what would be done; changes nothing. run: do it."),
    ] = "plan"
    topics: Annotated[
        list[str],
        Field(title="Topics", description="Topics to replay. Empty: all that have a backlog."),
    ] = []
    cluster: Annotated[
        str | None,
        Field(title="Cluster", description="Only topics of this cluster, by its name in the settings. None: all."),
    ] = None
    rate: Annotated[float | None, rate_field("events", "lanes", JOB)] = None
    lanes: Annotated[
        int,
        Field(
            title="Lanes at the same time", ge=1, le=64, description="1 to 64; one thread and one Kafka producer each."
        ),
    ] = 4
    verify: Verify = "full"
    protect: ProtectConsumers = None
    settle: Annotated[
        float,
        Field(
            title="Settle (seconds)",
            ge=0,
            le=600,
            description="How long events that may be in Kafka already are left alone, once the cluster is well again, "
            "before they are looked for there: a broker that was only paused may still write them.",
        ),
    ] = 5.0
    patience: Annotated[float, patience_field("a lane", "its cluster or the standby store", "the next run goes on")] = (
        120.0
    )

    @field_validator("cluster", mode="before")
    @classmethod
    def _no_cluster(cls, value: Any) -> Any:
        return None if value == "" else value  # an event that names none
