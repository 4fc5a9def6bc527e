"""Looks at clusters that are under way at once: each finds what the other has just deleted, on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed

from deployments.local.stack import Stack
from tasks import artifacts
from tasks.cluster_health import steps

pytestmark = pytest.mark.timeout(300)


@flow(name="cluster-health")
def look() -> None:
    steps.forget_old_runs()


@pytest.fixture
def prefect(own_prefect: Stack) -> Iterator[SyncPrefectClient]:
    api = own_prefect.environment()["PREFECT_API_URL"]
    with temporary_settings(updates={PREFECT_API_URL: api}), SyncPrefectClient(api) as client:
        yield client


def deleted_by_the_other_first(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    delete: Callable[..., Any] = getattr(SyncPrefectClient, name)

    def twice(client: SyncPrefectClient, id_: UUID) -> None:
        delete(client, id_)
        delete(client, id_)

    monkeypatch.setattr(SyncPrefectClient, name, twice)


def test_two_looks_forget_the_same_old_runs_and_neither_fails(
    prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = prefect.create_deployment(prefect.create_flow(look), "cluster-health")
    old = [prefect.create_flow_run_from_deployment(deployment).id for _ in range(2)]
    for run in old:
        prefect.set_flow_run_state(run, Completed(), force=True)
    this = prefect.create_flow_run_from_deployment(deployment)
    monkeypatch.setattr(steps, "KEPT", 0)
    deleted_by_the_other_first(monkeypatch, "delete_flow_run")

    run_flow(look, flow_run=this)

    assert {run.id for run in prefect.read_flow_runs()}.isdisjoint(old)


def test_two_looks_drop_the_same_artifact_and_neither_fails(
    prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.keep(prefect, key="cluster-health-old", data="", description="", facts={"cluster": "old"})
    deleted_by_the_other_first(monkeypatch, "delete_artifact")
    artifacts.drop(prefect, "cluster-health-old", {"cluster": "old"})
    assert prefect.read_artifacts() == []
