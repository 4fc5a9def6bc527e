"""The form of `cluster-health`: what a person, or a schedule, asks of a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Look(BaseModel):
    """Which clusters to look at."""

    model_config = ConfigDict(extra="forbid")

    clusters: Annotated[
        list[str], Field(title="Clusters", description="By their names in the settings. Empty: all of them.")
    ] = []
