"""The form of `dlq-correction`: what a person, or a schedule, asks of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from redrive.deadletters.correction import JOB
from redrive.deadletters.selection import Selection
from tasks.pump_form import ProtectConsumers, Verify, patience_field, rate_field


class Correction(BaseModel):
    """Which dead letters to correct, and how."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[
        Literal["plan", "run"],
        Field(
            title="Mode",
            description="plan: show what would become of each letter; changes nothing. run: do it, after approval if "
            "the settings ask for that.",
        ),
    ] = "plan"
    rules: Annotated[
        str | None,
        Field(
            title="Rule file",
            description="Path of the rule file, relative to the settings' folder. None: events are published again as "
            "they are, such as after a consumer was mended.",
        ),
    ] = None
    order: Annotated[
        Literal["hold", "publish", "skip"],
        Field(
            title="If a newer event of the key has passed",
            description="hold: leave the letter open. publish: publish it all the same. skip: give it up, for good.",
        ),
    ] = "hold"
    selection: Annotated[
        Selection,
        Field(title="Letters", description="Which letters, of those that triage has entered. Empty: all open ones."),
    ] = Selection()
    rate: Annotated[float | None, rate_field("letters", "partitions", JOB)] = None
    partitions: Annotated[
        int,
        Field(
            title="Partitions at the same time",
            ge=1,
            le=64,
            description="1 to 64; one thread and one Kafka producer each.",
        ),
    ] = 4
    samples: Annotated[
        int,
        Field(
            title="Samples for each rule",
            ge=0,
            le=50,
            description="How many letters the plan shows before and after, but for fields that the settings mask.",
        ),
    ] = 3
    verify: Verify = "full"
    protect: ProtectConsumers = None
    patience: Annotated[
        float, patience_field("a partition", "a system", "a new run goes on with the letters that are left")
    ] = 120.0

    @field_validator("selection")
    @classmethod
    def _open(cls, selection: Selection) -> Selection:
        if selection.takes_ended:
            raise ValueError(
                "fates: letters that are published, discarded, or rejected, which live on as other letters, would be "
                "published twice; name other fates"
            )
        return selection
