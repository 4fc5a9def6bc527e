"""What people, and Prefect, are told."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from prefect.events.schemas.automations import ResourceSpecification
from prefect.events.schemas.events import Event

from deployments.aws.tell_prefect import handler
from tests.aws.template import Platform

WATCHED = {
    "kafka-orders-cpu", "kafka-orders-disk", "kafka-orders-offline", "kafka-orders-under-replicated",
    "kafka-menu-eu-cpu", "kafka-menu-eu-disk", "kafka-menu-eu-offline", "kafka-menu-eu-under-replicated",
    "standby-throttled",
    "ledger-database-space", "ledger-database-cpu", "registry-database-space", "registry-database-cpu",
    "prefect-database-space", "prefect-database-cpu", "registry-away", "prefect-away", "prefect-5xx", "worker-away",
    "ledger-database-away", "registry-database-away", "prefect-database-away",
    "gateway-5xx", "gateway-unreached", "gateway-unready",
}  # fmt: skip


def alarms(platform: Platform) -> dict[str, dict[str, Any]]:
    return {one["AlarmName"].removeprefix("redrive-"): one for one in platform.properties("AWS::CloudWatch::Alarm")}


def test_this_is_watched_and_people_hear_of_it_and_of_its_end(platform: Platform) -> None:
    found = alarms(platform)
    assert found.keys() == WATCHED
    (topic,) = platform.resources("AWS::SNS::Topic")
    for one in found.values():
        assert one["AlarmActions"] == one["OKActions"] == [topic]
        assert one["AlarmDescription"]
    assert platform.properties("AWS::SNS::Subscription")[0]["Endpoint"] == "oncall@example.com"


def test_all_of_them_look_minute_by_minute(platform: Platform) -> None:
    for name, one in alarms(platform).items():
        periods = (
            {one["Period"]} if "Period" in one else set(re.findall(r"'(?:Min)?Period': (\d+)", str(one["Metrics"])))
        )
        assert {int(period) for period in periods} == {60}, name


def test_alarms_may_come_through_the_topic(platform: Platform) -> None:
    (policy,) = platform.properties("AWS::SNS::TopicPolicy")
    allowed = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    assert [one["Principal"] for one in allowed] == [{"Service": "cloudwatch.amazonaws.com"}]


def test_brokers_that_are_added_later_are_watched_too(platform: Platform) -> None:
    (query,) = alarms(platform)["kafka-orders-cpu"]["Metrics"]
    assert "Broker ID" in query["Expression"]
    assert "'redrive-orders'" in query["Expression"]


def test_nobody_at_all_is_an_alarm_where_somebody_has_to_be(platform: Platform) -> None:
    found = alarms(platform)
    databases = [f"{name}-database-away" for name in ("ledger", "registry", "prefect")]
    for name in ("registry-away", "prefect-away", "worker-away", "gateway-unready", *databases):
        assert found[name]["TreatMissingData"] == "breaching"


def test_a_database_that_is_away_is_seen_by_its_missing_samples(platform: Platform) -> None:
    found = alarms(platform)
    seen = set()
    for name in ("ledger", "registry", "prefect"):
        one = found[f"{name}-database-away"]
        assert (one["MetricName"], one["Statistic"], one["Threshold"]) == ("DatabaseConnections", "SampleCount", 1)
        assert one["ComparisonOperator"] == "LessThanThreshold"
        seen.add(one["Dimensions"][0]["Value"])
    assert seen == platform.resources("AWS::RDS::DBInstance").keys()


def test_a_server_of_prefect_that_answers_without_its_database_is_seen_by_its_errors(platform: Platform) -> None:
    one = alarms(platform)["prefect-5xx"]
    groups = {item["Name"]: item["Value"] for item in one["Dimensions"]}
    assert one["MetricName"] == "HTTPCode_Target_5XX_Count"
    assert "PrefectTargets" in groups["TargetGroup"]
    assert (one["Statistic"], one["ComparisonOperator"], one["Threshold"]) == ("Sum", "GreaterThanThreshold", 0)
    assert (one["Period"], one["EvaluationPeriods"]) == (60, 5)


def test_that_no_worker_runs_is_seen_by_the_missing_samples_of_its_service(platform: Platform) -> None:
    away = alarms(platform)["worker-away"]
    (worker,) = (name for name in platform.resources("AWS::ECS::Service", "jobs") if name.startswith("Worker"))
    (cluster,) = platform.resources("AWS::ECS::Cluster", "jobs")
    dimensions = {one["Name"]: one["Value"] for one in away["Dimensions"]}
    assert dimensions == {"ClusterName": cluster, "ServiceName": f"{worker}.Name"}
    assert (away["Namespace"], away["MetricName"], away["Statistic"]) == ("AWS/ECS", "CPUUtilization", "SampleCount")
    assert (away["ComparisonOperator"], away["Threshold"]) == ("LessThanThreshold", 1)


def test_an_alarm_about_cpu_calls_the_function_that_tells_prefect_of_that_cluster(platform: Platform) -> None:
    functions = platform.resources("AWS::Lambda::Function", "jobs")
    told = {}
    for rule in platform.properties("AWS::Events::Rule"):
        (target,) = rule["Targets"]
        function = functions[target["Arn"].removesuffix(".Arn")]["Properties"]
        told[rule["EventPattern"]["resources"][0].rsplit(":")[-1]] = function["Environment"]["Variables"]["CLUSTER"]
    assert told == {"redrive-kafka-orders-cpu": "orders", "redrive-kafka-menu-eu-cpu": "menu-eu"}
    assert told.keys() <= {f"redrive-{name}" for name in WATCHED}


class _Prefect(BaseHTTPRequestHandler):
    got: ClassVar[list[tuple[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((self.path, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def test_what_it_tells_starts_broker_scaling_if_its_automation_is_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), _Prefect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        monkeypatch.setenv("CLUSTER", "orders")
        handler(
            {
                "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
                "time": "2026-11-27T08:00:00Z",
                "detail": {"alarmName": "redrive-kafka-orders-cpu", "state": {"value": "ALARM"}},
            },
            None,
        )
        server.shutdown()
    ((path, (sent,)),) = _Prefect.got
    assert path == "/api/events"
    event = Event.model_validate(sent)
    deployments = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
    (scaling,) = (one for one in deployments if one["name"] == "broker-scaling")
    (trigger,) = scaling["triggers"]
    assert event.event in trigger["expect"]
    assert ResourceSpecification(trigger["match"]).matches(event.resource)
    assert event.payload == {"cluster": "orders"}
