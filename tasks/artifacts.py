"""Artifacts that can be changed in place: Prefect's own functions make a new card each time."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectNotFound

Kind = Literal["markdown", "progress"]


def create(
    client: SyncPrefectClient,
    run_id: str,
    *,
    key: str,
    kind: Kind,
    data: str | float,
    description: str,
    facts: dict[str, str] | None = None,
) -> UUID:
    """Make an artifact of a flow run.

    Args:
        client: Prefect's API.
        run_id: the flow run.
        key: what all artifacts of this sort have in common: lower case, digits, dashes.
        kind: what it is.
        data: Markdown, or percent of 100.
        description: one line.
        facts: for programs that follow the run.
    """
    artifact = ArtifactCreate(
        key=key, type=kind, data=data, description=description, metadata_=facts, flow_run_id=UUID(run_id)
    )
    return client.create_artifact(artifact).id


def keep(client: SyncPrefectClient, *, key: str, data: str, description: str, facts: dict[str, str]) -> None:
    """Make the one Markdown artifact of its key, or change it in place. It belongs to no run, and outlives them all."""
    named = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    there = client.read_artifacts(artifact_filter=named, sort=ArtifactSort.CREATED_DESC, limit=1)
    if there:
        update(client, there[0].id, data, description, facts)
        return
    artifact = ArtifactCreate(key=key, type="markdown", data=data, description=description, metadata_=facts)
    client.create_artifact(artifact)


def drop(client: SyncPrefectClient, key: str, facts: dict[str, str]) -> None:
    """Delete the artifacts of a key that say this among their facts."""
    named = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    for each in client.read_artifacts(artifact_filter=named):
        if facts.items() <= (each.metadata_ or {}).items():
            with suppress(ObjectNotFound):  # somebody else was as quick
                client.delete_artifact(each.id)


def update(
    client: SyncPrefectClient,
    artifact: UUID,
    data: str | float,
    description: str | None = None,
    facts: dict[str, str] | None = None,
) -> None:
    """Change an artifact in place."""
    changed = ArtifactUpdate(data=data)
    if description is not None:
        changed.description = description
    if facts is not None:
        changed.metadata_ = facts
    client.update_artifact(artifact, changed)
