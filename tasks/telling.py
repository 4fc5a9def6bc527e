"""Telling Prefect's server of something about a cluster, so that what listens there hears of it for sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.orchestration import get_client
from prefect.events.schemas.events import Event, RelatedResource, Resource
from prefect.runtime import flow_run as runtime


def about_cluster(name: str, cluster: str, payload: Mapping[str, Any]) -> Event:
    """Give an event about a cluster, by the flow run that this is part of."""
    run = runtime.id
    by = [{"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}] if run else []
    resource = {"prefect.resource.id": f"redrive.cluster.{cluster}", "prefect.resource.name": cluster}
    return Event(
        event=name,
        resource=Resource(resource),
        related=[RelatedResource(each) for each in by],
        payload=dict(payload),
    )


def send(events: Sequence[Event]) -> None:
    """Have Prefect's server take events; returns when it has them.

    `emit_event` only hands them to a thread, and nobody hears of those that it loses.

    Raises:
        httpx.HTTPError: the server does not answer, or takes none.
    """
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json") for event in events])
