"""The form of `broker-scaling`: what a person, or a schedule, asks of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.partition_rebalance.limits import LargestProduceLatency, MovesThrottle, WatchedGroups


class Scale(BaseModel):
    """When a cluster gets more brokers, and how many."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[
        Literal["plan", "run"],
        Field(
            title="Mode",
            description="plan: measure the load and show what would be done; changes nothing. run: do it, after "
            "approval if the settings ask for that.",
        ),
    ] = "plan"
    cluster: Annotated[
        str | None,
        Field(
            title="Cluster",
            description="By its name in the settings. None: each that has a fleet there; if several have, each gets a "
            "run of its own.",
        ),
    ] = None
    threshold: Annotated[
        float,
        Field(
            title="CPU that is high (percent)",
            gt=0,
            le=100,
            description="Of all brokers together. Amazon advises to stay below 60 on MSK, so that one broker can fail.",
        ),
    ] = 60.0
    window: Annotated[
        float,
        Field(
            title="For how long (seconds)",
            ge=1,
            le=86_400,
            description="The load has to be high all this time. MSK keeps the load of each minute; elsewhere the run "
            "measures it for so long.",
        ),
    ] = 600.0
    step: Annotated[
        int,
        Field(
            title="Brokers to add",
            ge=1,
            le=60,
            description="At a time. On MSK it becomes a multiple of the availability zones.",
        ),
    ] = 1
    most: Annotated[
        int, Field(title="Most brokers", ge=1, le=1_000, description="There are never more than this, in all.")
    ] = 12
    cool_down: Annotated[
        float,
        Field(
            title="Cool-down (seconds)",
            ge=0,
            le=2_592_000,
            description="After a scaling there is none for so long: its effect is to be seen first.",
        ),
    ] = 3_600.0
    patience: Annotated[
        float,
        Field(
            title="Patience (seconds)",
            ge=1,
            le=86_400,
            description="How long it waits for brokers that were asked for. MSK takes up to an hour or more.",
        ),
    ] = 7_200.0
    throttle: MovesThrottle = 50.0
    max_produce_latency: LargestProduceLatency = None
    watched_groups: WatchedGroups = []
