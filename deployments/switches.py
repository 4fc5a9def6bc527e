"""What somebody has switched on or off in Prefect stays so when the jobs are deployed anew.

`prefect deploy` makes all of it what ``prefect.yaml`` says: schedules, and the automations that start jobs. It takes
those for new each time. When two deploy at once, such an automation is there twice, and would start each job twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deployments.automations import one_of_each

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

FILE = Path(__file__).parents[1] / "prefect.yaml"
_MOVED = {("broker-scaling", "quarter-hourly"): "broker-scaling-by-itself"}
"""Deployment and slug of a schedule → the deployment that has it now, with the same slug. Prefect keeps the old one
when a deployment is told without schedules, and it would go on starting what only plans by now."""


@dataclass(frozen=True, slots=True)
class Switches:
    """What is on.

    Attributes:
        paused: deployment → whether it runs nothing by itself.
        schedules: deployment and slug → whether that schedule is on.
        triggers: automation → whether it is on.
    """

    paused: Mapping[str, bool]
    schedules: Mapping[tuple[str, str], bool]
    triggers: Mapping[str, bool]


@contextmanager
def kept(client: SyncPrefectClient) -> Iterator[None]:
    """Have all switches after the block as they were before it; what was not there before is as it is made."""
    before = _read(client)
    try:
        yield
    finally:
        _restore(client, before)


def _read(client: SyncPrefectClient) -> Switches:
    found = {deployment.name: deployment for deployment in _deployments(client)}
    schedules = {
        (name, schedule.slug): schedule.active
        for name, deployment in found.items()
        for schedule in deployment.schedules
        if schedule.slug
    }
    triggers = {name: automation.enabled for name, automation in one_of_each(client, _triggers()).items()}
    return Switches({name: each.paused for name, each in found.items()}, schedules, triggers)


def _restore(client: SyncPrefectClient, before: Switches) -> None:
    for deployment in _deployments(client):
        for schedule in deployment.schedules:
            was = before.schedules.get((deployment.name, schedule.slug or ""), schedule.active)
            if was != schedule.active:
                client.update_deployment_schedule(deployment.id, schedule.id, active=was)
        was = before.paused.get(deployment.name, deployment.paused)
        if was != deployment.paused:
            (client.pause_deployment if was else client.resume_deployment)(deployment.id)
    for name, automation in one_of_each(client, _triggers()).items():
        was = before.triggers.get(name, automation.enabled)
        if was != automation.enabled:
            (client.resume_automation if was else client.pause_automation)(automation.id)
    _hand_on(client, before)


def _hand_on(client: SyncPrefectClient, before: Switches) -> None:
    """Switch on the heirs of schedules that were on, and delete those."""
    found = {
        (deployment.name, schedule.slug): (deployment, schedule)
        for deployment in _deployments(client)
        for schedule in deployment.schedules
    }
    for (name, slug), heir in _MOVED.items():
        if (heir, slug) not in found:
            continue  # the deploy has failed before it
        deployment, schedule = found[heir, slug]
        if before.schedules.get((name, slug), False) and not before.paused.get(name, False):
            client.update_deployment_schedule(deployment.id, schedule.id, active=True)
        if (name, slug) in found:
            deployment, schedule = found[name, slug]
            client.delete_deployment_schedule(deployment.id, schedule.id)


def _deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    names = [deployment["name"] for deployment in _told()]
    yield from client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)))


def _triggers() -> set[str]:
    return {trigger["name"] for deployment in _told() for trigger in deployment.get("triggers", [])}


def _told() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["deployments"]
    return found
