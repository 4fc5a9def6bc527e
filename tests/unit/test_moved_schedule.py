"""A schedule that another deployment has now: what somebody has switched on stays on there, and the old one goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from deployments import switches

OLD, NEW, SLUG = "broker-scaling", "broker-scaling-by-itself", "quarter-hourly"


class Prefect:
    """Deployments with schedules: name → slug → whether it is on."""

    def __init__(self, **schedules: bool) -> None:
        self.there = {OLD: dict(schedules)}
        self.paused: set[str] = set()

    def deploy(self) -> None:
        """As `prefect deploy` does: what prefect.yaml tells of a deployment; schedules only if it tells of any."""
        self.there[NEW] = {SLUG: False}

    def read_deployments(self, **_: Any) -> list[Any]:
        return [
            SimpleNamespace(
                id=name, name=name, paused=name in self.paused,
                schedules=[SimpleNamespace(id=slug, slug=slug, active=on) for slug, on in schedules.items()],
            )
            for name, schedules in self.there.items()
        ]  # fmt: skip

    def update_deployment_schedule(self, deployment: str, schedule: str, *, active: bool) -> None:
        self.there[deployment][schedule] = active

    def delete_deployment_schedule(self, deployment: str, schedule: str) -> None:
        del self.there[deployment][schedule]


def deploys(prefect: Prefect) -> None:
    with switches.kept(cast(Any, prefect)):
        prefect.deploy()


@pytest.fixture(autouse=True)
def no_automations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "one_of_each", lambda *_: {})


@pytest.mark.parametrize("on", [True, False])
def test_it_is_switched_as_the_old_one_was_which_is_deleted(on: bool) -> None:
    prefect = Prefect(**{SLUG: on})
    deploys(prefect)
    assert prefect.there == {OLD: {}, NEW: {SLUG: on}}


def test_what_somebody_switches_after_that_stays_so() -> None:
    prefect = Prefect(**{SLUG: True})
    deploys(prefect)
    prefect.there[NEW][SLUG] = False
    deploys(prefect)
    assert prefect.there == {OLD: {}, NEW: {SLUG: False}}


def test_one_of_a_deployment_that_was_paused_is_not_switched_on() -> None:
    prefect = Prefect(**{SLUG: True})
    prefect.paused = {OLD}
    deploys(prefect)
    assert prefect.there == {OLD: {}, NEW: {SLUG: False}}


def test_schedules_that_people_have_made_themselves_stay() -> None:
    prefect = Prefect(nightly=True)
    deploys(prefect)
    assert prefect.there == {OLD: {"nightly": True}, NEW: {SLUG: False}}


def test_the_old_one_stays_if_deploying_fails_before_there_is_another() -> None:
    prefect = Prefect(**{SLUG: True})
    with pytest.raises(OSError, match="away"), switches.kept(cast(Any, prefect)):
        raise OSError("away")
    assert prefect.there == {OLD: {SLUG: True}}


def test_each_heir_is_told_in_prefect_yaml_and_what_it_has_inherited_no_longer() -> None:
    told = {(each["name"], schedule["slug"]) for each in switches._told() for schedule in each.get("schedules", [])}
    for (name, slug), heir in switches._MOVED.items():
        assert (heir, slug) in told
        assert (name, slug) not in told
