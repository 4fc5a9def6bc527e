"""The form of `partition-rebalance`: what a person, or a schedule, asks of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from redrive.partitions.planner.goal import Mode
from tasks.partition_rebalance.limits import LargestProduceLatency, MovesThrottle, WatchedGroups


class Rebalance(BaseModel):
    """Where partitions are to be, and how they get there."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[
        Literal["plan", "run"],
        Field(
            title="Mode",
            description="plan: show what would move, and what for; changes nothing. run: do it, after approval if the "
            "settings ask for that.",
        ),
    ] = "plan"
    cluster: Annotated[
        str | None, Field(title="Cluster", description="By its name in the settings. None: the only one.")
    ] = None
    goal: Annotated[
        Literal[Mode, "go_on", "roll_back"],  # one list to choose from; of a union, the form makes two
        Field(
            title="Goal",
            description="balance: bytes, replicas and leaders evenly. add_brokers: the same, but only new brokers "
            "take. drain_brokers: everything leaves some brokers. leaders: evenly, without copying. "
            "replication_factor: so many replicas. go_on: with what the last run that moved here has left undone. "
            "roll_back: all that it has done, to the exact order of replicas.",
        ),
    ] = "balance"
    brokers: Annotated[
        list[int],
        Field(
            title="Brokers",
            description="Ids: those that are new, or that are drained. Empty, with add_brokers: those that are empty.",
        ),
    ] = []
    replication: Annotated[
        int | None, Field(title="Replicas", ge=1, le=20, description="For the goal replication_factor only.")
    ] = None
    excluded_topics: Annotated[
        list[str], Field(title="Topics to leave alone", description="Their partitions stay where they are.")
    ] = []
    excluded_brokers: Annotated[
        list[int], Field(title="Brokers to leave alone", description="Nothing comes to them, nothing leaves them.")
    ] = []
    band: Annotated[
        float,
        Field(
            title="Band (percent)",
            gt=0,
            le=50,
            description="How far a broker's bytes may be from their target. The narrower, the more is moved.",
        ),
    ] = 5.0
    throttle: MovesThrottle = 50.0
    max_produce_latency: LargestProduceLatency = None
    watched_groups: WatchedGroups = []
    moves_per_broker: Annotated[
        int, Field(title="Moves of a broker at the same time", ge=1, le=1_000, description="In or out.")
    ] = 5
    moves_at_once: Annotated[
        int, Field(title="Moves at the same time", ge=1, le=10_000, description="In the whole cluster.")
    ] = 100
    on_failure: Annotated[
        Literal["stop", "roll_back"],
        Field(
            title="If it does not come to a good end",
            description="stop: what is done stays, what is under way is taken back. roll_back: everything is taken "
            "back, unless the run is itself a way back. A cancel always stops: to take back what was done, start a run "
            "with the goal roll_back.",
        ),
    ] = "stop"
    patience: Annotated[
        float,
        Field(
            title="Patience (seconds)",
            ge=1,
            le=86_400,
            description="How long it waits while nothing moves, because the cluster is unwell, a limit is exceeded, or "
            "moves do not get on, before it stops.",
        ),
    ] = 600.0
