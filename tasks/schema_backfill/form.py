"""The form of `schema-backfill`: what a person, or a schedule, asks of a run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from redrive.migrations.unit import JOB
from tasks.protection import Protect
from tasks.pump_form import patience_field, rate_field

SWITCHES = {"switch_producers", "switch_back"}
"""Goals that take producers from one of the topics to the other."""


class Backfill(BaseModel):
    """What is to be brought to another schema, and how far."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[
        Literal["plan", "run"],
        Field(
            title="Mode",
            description="plan: try the rules on events, and show what would be done; changes nothing. run: do it, "
            "after approval if the settings ask for that.",
        ),
    ] = "plan"
    goal: Annotated[
        Literal["copy", "cut_over", "switch_producers", "feed_back", "revert", "switch_back", "in_place"],
        Field(
            title="Goal",
            description="copy: fill the target, and follow what comes. cut_over: that, and then move consumer groups "
            "to exactly their places there. switch_producers: copy, and then have the SDK's producers that publish to "
            "the source publish to the target, and its consumers that are ready for that follow them. feed_back: bring "
            "what others publish to the target to the source, by the rules' `down`. revert: move consumer groups back. "
            "switch_back: feed_back, and then take producers and consumers back. in_place: no second topic; publish "
            "each key's newest event of a compacted topic again, under the new schema. Each may be run again at any "
            "time, and goes on.",
        ),
    ] = "copy"
    source: Annotated[str, Field(title="Source", min_length=1, description="The topic whose events are copied.")]
    target: Annotated[
        str,
        Field(
            title="Target",
            min_length=1,
            description="The topic that they go to. The settings have it, with the schema that its events are to fit; "
            "the first run creates it, with as many partitions as the source. in_place: the source.",
        ),
    ]
    rules: Annotated[
        str | None,
        Field(
            title="Rule file",
            description="Path of the migration's rules, relative to the settings' folder. None: what Avro resolves by "
            "itself: names, aliases, defaults, promotions.",
        ),
    ] = None
    groups: Annotated[
        list[str],
        Field(
            title="Consumer groups",
            description="Those to move. Empty: all that have a place on the topic. They must not be consuming.",
        ),
    ] = []
    may_lag: Annotated[
        list[str],
        Field(
            title="Groups that may lag",
            description="Producers are not switched while a consumer group is still on its way after the last switch, "
            "since it would handle some events twice, nor while groups could not be told where to go on. Groups named "
            "here are not waited for: those that follow no switch, that nobody runs any more, or whose handlers bear "
            "it.",
        ),
    ] = []
    sample: Annotated[
        int,
        Field(
            title="Events to try (of each partition)",
            ge=0,
            description="On how many events the plan tries the rules. 0: on all.",
        ),
    ] = 2_000
    follow_for: Annotated[
        float,
        Field(
            title="Follow for (minutes)",
            ge=0,
            le=525_600,
            description="For so long after its beginning the run goes on to copy what comes. 0: up to what there is "
            "when it begins.",
        ),
    ] = 0.0
    rate: Annotated[float | None, rate_field("events", "partitions", JOB)] = None
    partitions: Annotated[
        int,
        Field(
            title="Partitions at the same time",
            ge=1,
            le=64,
            description="1 to 64; a Kafka producer each. A topic that has more is copied in turns while it is followed "
            "or its producers are switched; followed, it is then about a quarter of a minute behind.",
        ),
    ] = 4
    most_parked: Annotated[
        int,
        Field(
            title="Most events to park",
            ge=0,
            description="Events that the rules can't migrate go to the parking topic (in_place: stay as they are); at "
            "more of them the run stops.",
        ),
    ] = 0
    verify: Annotated[
        Literal["full", "sample", "new"],
        Field(
            title="Verify",
            description="Both topics are read anew and compared. full: each event with its value. sample: each event, "
            "but the values of one in a hundred only. new: full, for what this run has copied.",
        ),
    ] = "full"
    protect: Annotated[
        Protect | None,
        Field(
            title="Protect consumers",
            description="Hold the copying while a consumer group is too far behind. Of switch_producers and "
            "switch_back: the copying that goes before; once producers store what they publish, nothing is held. Not "
            "for revert, which copies nothing. None: don't.",
        ),
    ] = None
    patience: Annotated[float, patience_field("a partition", "a system", "a new run goes on")] = 120.0

    @model_validator(mode="after")
    def _all_compared(self) -> Self:
        if self.goal in {"cut_over", "switch_producers"} and self.verify == "new":
            raise ValueError("verify: before anybody moves, everything is compared; say full or sample")
        if self.goal == "revert" and self.protect is not None:
            raise ValueError("protect: revert copies nothing that could be held; leave it out")
        if self.goal not in {"cut_over", "revert"} and self.groups:
            raise ValueError("groups: only cut_over and revert move consumer groups; leave them out")
        if self.goal not in SWITCHES and self.may_lag:
            raise ValueError("may_lag: only who switches producers waits for consumer groups; leave it out")
        if self.goal == "in_place" and self.source != self.target:
            raise ValueError("target: in_place, the topic itself is brought to the schema; say the source")
        if self.goal == "in_place" and self.follow_for:
            raise ValueError("follow_for: in_place, what comes meanwhile is left to the next run; say 0")
        return self
