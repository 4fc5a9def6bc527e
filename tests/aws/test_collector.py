"""How metrics come to CloudWatch: what is told to Prometheus in a task is read there, and passed on."""

from __future__ import annotations

import json
import re

import pytest

from redrive.config import Config
from tests.aws.conftest import EXAMPLE
from tests.aws.template import REGION, Platform


@pytest.fixture
def ports() -> dict[str, int]:
    config = Config.load(EXAMPLE)
    return {"Gateway": config.door().admin_port, "Worker": config.jobs.admin_port}


@pytest.mark.parametrize("program", ["Gateway", "Worker"])
def test_what_a_program_tells_prometheus_goes_to_cloudwatch_and_what_python_tells_does_not(
    platform: Platform, ports: dict[str, int], program: str
) -> None:
    (told,) = platform.beside(program)["Collector"]["Environment"]
    assert told["Name"] == "AOT_CONFIG_CONTENT"
    assert "$" not in told["Value"], "the collector would take it for a variable"
    settings = json.loads(told["Value"])
    (scraped,) = settings["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"127.0.0.1:{ports[program]}"]}]
    wanted = settings["processors"]["filter"]["metrics"]

    def goes(metric: str) -> bool:
        kept, left = (wanted[which]["metric_names"] for which in ("include", "exclude"))
        return bool(re.search(kept[0], metric)) and not re.search(left[0], metric)

    assert [goes(name) for name in ("redrive_dead_letters", "redrive_events_created", "python_gc_total")] == [
        True, False, False,
    ]  # fmt: skip
    sent = settings["exporters"]["awsemf"]
    assert (sent["namespace"], sent["region"]) == ("Redrive", REGION)
    groups = platform.resources("AWS::Logs::LogGroup")
    assert sent["log_group_name"] in groups
    pipeline = settings["service"]["pipelines"]["metrics"]
    for part in ("receivers", "processors", "exporters"):
        assert pipeline[part] == list(settings[part])


@pytest.mark.parametrize("program", ["Gateway", "Worker"])
def test_it_may_write_its_log_and_no_more(platform: Platform, program: str) -> None:
    (policy,) = (
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in platform.resources("AWS::IAM::Policy").items()
        if name.startswith(f"{program}RoleDefaultPolicy")
    )
    (told,) = platform.beside(program)["Collector"]["Environment"]
    log = json.loads(told["Value"])["exporters"]["awsemf"]["log_group_name"]
    (statement,) = policy
    assert set(statement["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert statement["Resource"] == f"{log}.Arn"


def test_beside_the_worker_the_ledger_is_told_to_prometheus_with_the_worker_s_own_settings(platform: Platform) -> None:
    metrics, worker = platform.beside("Worker")["Metrics"], platform.containers()["Worker"]
    assert metrics["Command"] == ["redrive", "metrics"]
    for what in ("Image", "Environment", "Secrets"):
        assert metrics[what] == worker[what]


def test_what_is_beside_a_program_does_not_end_it_and_is_started_again(platform: Platform) -> None:
    others = [each for program in ("Gateway", "Worker") for each in platform.beside(program).values()]
    assert len(others) == 3
    for each in others:
        assert each["Essential"] is False
        assert each["RestartPolicy"]["Enabled"] is True
