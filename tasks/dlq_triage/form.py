"""The form of `dlq-triage`: what a person, or a schedule, asks of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Triage(BaseModel):
    """Which dead letters to look at."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[
        Literal["plan", "run"],
        Field(
            title="Mode",
            description="run: enter new letters in the ledger. plan: only say how many there are, and what the ledger "
            "has. Neither changes anything in Kafka.",
        ),
    ] = "run"
    topics: Annotated[
        list[str],
        Field(
            title="Dead-letter topics",
            description="Topics to read. Empty: all that the settings have, whichever system writes to them.",
        ),
    ] = []
    cluster: Annotated[
        str | None,
        Field(title="Cluster", description="Only topics of this cluster, by its name in the settings. None: all."),
    ] = None
