"""`prefect.yaml` says what it seems to say: Prefect drops keys that it does not know without a word."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel, RawScheduleConfig, WorkPoolConfig
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.events.schemas.events import Resource, ResourceSpecification
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel

from deployments.automations import GIVE_WAY
from deployments.run import app as commands
from flows.broker_scaling import Scale
from flows.cluster_health import Look
from flows.dlq_correction import Correction
from flows.dlq_triage import Triage
from flows.partition_rebalance import Rebalance
from flows.schema_backfill import Backfill
from flows.standby_replay import Replay
from redrive.health.changes import BACKLOG, RECOVERED
from tasks.cluster_health.dead_runs import JOBS, TAGS
from tasks.cluster_health.unread import UNREAD

ROOT = Path(__file__).parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]

each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])


def keys_of(model: type[BaseModel]) -> set[str]:
    """What the model takes, by the names that YAML uses."""
    return {field.alias or name for name, field in model.model_fields.items()}


def sections() -> Iterator[tuple[str, dict[str, Any], type[BaseModel]]]:
    yield "prefect.yaml", FILE, PrefectYamlModel
    for deployment in DEPLOYMENTS:
        name = deployment["name"]
        yield name, deployment, DeploymentConfig
        yield f"{name}.work_pool", deployment["work_pool"], WorkPoolConfig
        for schedule in deployment.get("schedules", []):
            yield f"{name}.schedules.{schedule['slug']}", schedule, RawScheduleConfig
        for trigger in deployment.get("triggers", []):
            yield f"{name}.triggers.{trigger['name']}", trigger, DeploymentEventTrigger


@pytest.mark.parametrize(
    ("where", "given", "model"), list(sections()), ids=lambda each: each if isinstance(each, str) else ""
)
def test_every_key_is_one_that_prefect_knows(where: str, given: dict[str, Any], model: type[BaseModel]) -> None:
    unknown = given.keys() - keys_of(model)
    assert not unknown, f"{where}: Prefect would drop {', '.join(sorted(unknown))} silently"
    model.model_validate(given)


@each_deployment
def test_its_flow_is_found_by_its_module(deployment: dict[str, Any]) -> None:
    assert not re.search(r"[/:]|\.py$", deployment["entrypoint"])
    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    assert isinstance(flow, Flow)
    assert flow.name == deployment["name"].removesuffix("-by-itself")
    assert flow.fn.__doc__, "the UI shows it"


@each_deployment
def test_no_run_goes_to_the_folder_that_it_was_deployed_from(deployment: dict[str, Any]) -> None:
    # Left out, Prefect adds a step that does; an empty list is its word for none.
    assert deployment.get("pull", FILE["pull"]) == []


@each_deployment
def test_it_goes_to_the_pool_that_the_worker_serves(deployment: dict[str, Any]) -> None:
    assert deployment["work_pool"]["name"] == "redrive"
    variables = ProcessWorker.get_default_base_job_template()["variables"]["properties"]
    assert deployment["work_pool"].get("job_variables", {}).keys() <= variables.keys()


@each_deployment
def test_prefect_itself_traces_no_run_since_its_spans_have_the_texts_of_errors(deployment: dict[str, Any]) -> None:
    given = deployment["work_pool"]["job_variables"]["env"]
    asked = "import prefect.settings as all; print(all.get_current_settings().cloud.enable_orchestration_telemetry)"
    # In a process of its own, as Prefect reads its settings once.
    said = subprocess.run(
        [sys.executable, "-c", asked], env=os.environ | given, capture_output=True, text=True, timeout=120
    )
    assert said.stdout == "False\n"


@each_deployment
def test_what_it_starts_by_itself_has_parameters_that_the_flow_takes(deployment: dict[str, Any]) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(deployment["entrypoint"])
    started_by = deployment.get("triggers", [])
    if deployment["parameters"] or deployment.get("schedules"):
        started_by = [*started_by, deployment]
    for each in started_by:
        flow.validate_parameters(each.get("parameters", {}))


@each_deployment
def test_prefect_checks_parameters_before_a_run_starts(deployment: dict[str, Any]) -> None:
    assert deployment["enforce_parameter_schema"] is True


@each_deployment
def test_no_schedule_has_parameters_of_its_own(deployment: dict[str, Any]) -> None:
    # Prefect 3.8.8 empties them when the schedule is switched off and on: a safety net would go on, but only plan.
    assert not [schedule for schedule in deployment.get("schedules", []) if "parameters" in schedule]


def test_the_safety_net_runs_each_quarter_of_an_hour_and_does_the_work() -> None:
    (schedule,) = DEPLOYMENTS[0]["schedules"]
    assert (schedule["cron"], schedule.get("active", True)) == ("*/15 * * * *", True)
    assert Replay.model_validate(DEPLOYMENTS[0]["parameters"]["replay"]).mode == "run"


def test_the_schedule_that_adds_brokers_is_off_until_somebody_switches_it_on() -> None:
    scaling = the("broker-scaling-by-itself")
    (schedule,) = scaling["schedules"]
    assert schedule["active"] is False
    assert Scale.model_validate(scaling["parameters"]["scale"]).mode == "run"


@pytest.mark.parametrize("job", ["broker-scaling", "partition-rebalance"])
def test_what_people_start_by_hand_plans_first_in_the_form_as_on_the_command_line(job: str) -> None:
    (given,) = the(job)["parameters"].values()
    assert given == {"mode": "plan"}
    assert "schedules" not in the(job)
    (command,) = (each for each in commands.registered_commands if each.name == job)
    assert command.callback is not None
    assert inspect.signature(command.callback).parameters["mode"].default == "plan"


def the(name: str) -> dict[str, Any]:
    (found,) = (deployment for deployment in DEPLOYMENTS if deployment["name"] == name)
    return found


def test_clusters_are_looked_at_each_minute_and_late_looks_are_not_caught_up_with() -> None:
    health = the("cluster-health")
    (schedule,) = health["schedules"]
    assert (schedule["cron"], schedule.get("active", True)) == ("* * * * *", True)
    limit = ConcurrencyLimitConfig.model_validate(health["concurrency_limit"])
    assert (limit.limit, limit.collision_strategy) == (1, ConcurrencyLimitStrategy.CANCEL_NEW)
    assert health["concurrency_limit"].keys() <= keys_of(ConcurrencyLimitConfig)


def test_runs_that_have_died_are_looked_for_among_those_of_all_jobs() -> None:
    assert {each["entrypoint"].rpartition(".")[2].replace("_", "-") for each in DEPLOYMENTS} == set(JOBS)
    assert {tag for each in DEPLOYMENTS for tag in each["tags"]} == set(TAGS)


def test_each_schedule_s_late_runs_give_way_when_the_next_one_is_due() -> None:
    minutes = {"*/15 * * * *": 15, "7 * * * *": 60, "4,19,34,49 * * * *": 15}
    scheduled = [each for each in DEPLOYMENTS if each.get("schedules") and "concurrency_limit" not in each]
    intervals = {each["name"]: timedelta(minutes=minutes[each["schedules"][0]["cron"]]) for each in scheduled}
    assert intervals == GIVE_WAY


def test_what_a_look_tells_starts_the_replay_and_nothing_that_changes_a_cluster_starts_unasked() -> None:
    (replay,) = the("standby-replay")["triggers"]
    assert set(replay["expect"]) == {RECOVERED, BACKLOG}
    (correction,) = the("dlq-correction")["triggers"]
    assert correction["parameters"]["correction"]["mode"] == "plan"
    (scaling,) = the("broker-scaling")["triggers"]
    assert scaling["enabled"] is False


def test_letters_that_nobody_has_read_start_a_triage_but_not_with_each_look() -> None:
    (trigger,) = the("dlq-triage")["triggers"]
    assert (trigger["expect"], trigger["within"]) == ([UNREAD], 600)
    assert Triage.model_validate(trigger["parameters"]["triage"]).mode == "run"


def test_a_scaling_s_own_events_do_not_start_the_next_one() -> None:
    (trigger,) = the("broker-scaling")["triggers"]
    alarm = {"prefect.resource.id": "redrive.cluster.east", "redrive.alarm": "cpu"}
    own = {"prefect.resource.id": "redrive.cluster.east", "prefect.resource.name": "east"}
    match = ResourceSpecification(trigger["match"])
    assert match.matches(Resource(alarm))
    assert not match.matches(Resource(own))


def test_called_without_a_word_the_flow_only_plans() -> None:
    assert Replay().mode == "plan"
    assert Scale().mode == "plan"


def test_a_recovery_that_names_no_cluster_means_all() -> None:
    assert Replay.model_validate({"mode": "run", "cluster": ""}).cluster is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "try"},
        {"rate": 0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"lanes": 0},
        {"lanes": 65},
        {"verify": "no"},
        {"settle": -1},
        {"patience": 100_000},
        {"protect": {"group": ""}},
        {"topic": "typo"},
    ],
    ids=str,
)
def test_the_run_form_refuses_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Replay.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"threshold": 101},
        {"threshold": float("nan")},
        {"window": 0},
        {"step": 0},
        {"most": 0},
        {"cool_down": -1},
        {"patience": float("inf")},
        {"brokers": 4},
    ],
    ids=str,
)
def test_the_form_for_more_brokers_refuses_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Scale.model_validate(wrong)


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All fields of a form, also those within others."""
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", {}).items()


each_form = pytest.mark.parametrize(
    "form", [Replay, Triage, Correction, Rebalance, Scale, Look, Backfill], ids=lambda form: form.__name__
)


@each_form
def test_each_field_of_the_run_form_says_what_it_is(form: type[BaseModel]) -> None:
    assert [name for name, field in fields(form.model_json_schema()) if not field.get("description")] == []


@each_form
def test_no_field_of_the_run_form_offers_two_kinds_of_value_by_the_same_name(form: type[BaseModel]) -> None:
    """The form names them by their type: nobody would look behind a second "str" for more to choose from."""
    for name, field in fields(form.model_json_schema()):
        kinds = [kind["type"] for kind in field.get("anyOf", []) if "type" in kind]
        assert len(kinds) == len(set(kinds)), name
