"""Topics and schemas become what the settings say, on a real cluster with a real registry."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app
from redrive.clusters import ClusterAdmin, TopicState
from redrive.config import Config
from redrive.errors import UnavailableError
from redrive.standby.dynamo import DynamoStore
from redrive.topics import Change, apply_topics

RECORD = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]}


class Platform:
    """A settings file with one topic, whose name nobody else uses."""

    def __init__(self, folder: Path) -> None:
        self.topic = f"orders.{uuid.uuid4().hex[:8]}"
        self.file = folder / "redrive.toml"
        self.schema = folder / "order.avsc"
        self.write_schema(RECORD)
        self.write()

    def write(self, more: str = 'config = { "min.insync.replicas" = 2 }', partitions: int = 2) -> None:
        self.file.write_text(f"""\
[registry]
url = "http://in.the.environment"
[clusters.local]
bootstrap = "in.the.environment:1"
[domains.sales]
cluster = "local"
[topics."{self.topic}"]
domain = "sales"
partitions = {partitions}
schema = "order.avsc"
{more}
""")

    def write_schema(self, schema: Any) -> None:
        self.schema.write_text(json.dumps(schema))

    @property
    def config(self) -> Config:
        return Config.load()

    @property
    def state(self) -> TopicState | None:
        return ClusterAdmin(self.config.cluster("local")).topics().get(self.topic)

    @property
    def versions(self) -> list[int]:
        client = SchemaRegistryClient(self.config.registry_client_config())
        subject = f"{self.topic}-value"
        return list(client.get_versions(subject)) if subject in client.get_subjects() else []

    def apply(self, **how: bool) -> list[Change]:
        return apply_topics(self.config, **how)


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REDRIVE_STANDBY__TABLE", f"standby-{uuid.uuid4().hex[:8]}")
    platform = Platform(tmp_path)
    monkeypatch.setenv("REDRIVE_CONFIG", str(platform.file))
    return platform


def test_a_dry_run_shows_everything_and_leaves_no_trace(platform: Platform) -> None:
    first, second = platform.apply(dry_run=True), platform.apply(dry_run=True)
    assert first == second
    assert {("table", "create"), ("topic", "create"), ("schema", "register")} <= {
        (change.kind, change.action) for change in first
    }
    assert platform.state is None
    assert platform.versions == []


def test_what_is_applied_once_needs_nothing_the_second_time(platform: Platform) -> None:
    assert {change.outcome for change in platform.apply()} == {"done"}
    state = platform.state
    assert state is not None
    assert (state.partitions, state.replication, state.without_leader) == (2, 3, 0)
    assert state.config == {"min.insync.replicas": "2"}
    assert platform.versions == [1]
    assert platform.apply() == []


def test_a_standby_table_without_ttl_as_a_restored_one_is_shown_and_mended(platform: Platform) -> None:
    """DynamoDB Local has no point-in-time recovery: that is left to tests/unit/test_standby_table.py."""
    platform.apply()
    standby, off = platform.config.standby, {"Enabled": False, "AttributeName": "expires"}
    store = DynamoStore(standby.table, standby.region, standby.endpoint)
    store._client.update_time_to_live(TableName=standby.table, TimeToLiveSpecification=off)  # type: ignore[arg-type]
    for outcome in ("planned", "planned", "done"):
        (change,) = platform.apply(dry_run=outcome == "planned")
        assert (change.kind, change.action, change.outcome) == ("table", "configure", outcome)
        assert change.detail == "has no TTL"
    assert platform.apply() == []


def test_a_changed_setting_is_set_and_one_made_by_hand_stays(platform: Platform) -> None:
    platform.apply()
    ClusterAdmin(platform.config.cluster("local")).configure(platform.topic, {"max.message.bytes": "100000"})
    platform.write('config = { "min.insync.replicas" = 2, "retention.ms" = 60000 }')
    assert [(change.action, change.config) for change in platform.apply()] == [
        ("configure", {"retention.ms": "60000"}),
        ("leave", {}),
    ]
    assert platform.state is not None
    assert platform.state.config == {
        "min.insync.replicas": "2",
        "retention.ms": "60000",
        "max.message.bytes": "100000",
    }


def test_partitions_are_added_only_when_asked_for(platform: Platform) -> None:
    platform.apply()
    platform.write(partitions=4)
    assert [change.action for change in platform.apply()] == ["leave"]
    assert platform.state is not None
    assert platform.state.partitions == 2
    assert [change.outcome for change in platform.apply(add_partitions=True)] == ["done"]
    assert platform.state.partitions == 4


def test_the_next_version_of_a_schema_is_registered_if_the_registry_s_rule_lets_it(platform: Platform) -> None:
    platform.apply()
    client = SchemaRegistryClient(platform.config.registry_client_config())
    client.set_compatibility(f"{platform.topic}-value", "BACKWARD")
    note = {"name": "note", "type": "string"}
    platform.write_schema(RECORD | {"fields": [*RECORD["fields"], note]})
    assert [change.action for change in platform.apply()] == ["leave"]
    assert platform.versions == [1]
    platform.write_schema(RECORD | {"fields": [*RECORD["fields"], note | {"default": ""}]})
    assert [(change.action, change.outcome) for change in platform.apply()] == [("register", "done")]
    assert platform.versions == [1, 2]


def test_one_change_that_fails_stops_no_other(platform: Platform) -> None:
    platform.schema.write_text("{}")
    platform.write('config = { "retention.ms" = "for ever" }')
    outcomes = {change.kind: change for change in platform.apply()}
    assert outcomes["table"].outcome == "done"
    assert outcomes["topic"].outcome == "failed"
    assert "retention.ms" in outcomes["topic"].reason
    assert outcomes["schema"].outcome == "failed"
    assert "order.avsc" in outcomes["schema"].reason


def test_two_may_apply_the_same_settings_at_once(platform: Platform) -> None:
    config = platform.config
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: apply_topics(config), range(3)))
    assert {change.outcome for run in runs for change in run} == {"done"}
    assert platform.versions == [1]


@pytest.mark.parametrize(
    ("variable", "value", "system"),
    [
        ("REDRIVE_CLUSTERS__LOCAL__BOOTSTRAP", "127.0.0.1:1", "cluster local"),
        ("REDRIVE_REGISTRY__URL", "http://127.0.0.1:1", "registry"),
        ("REDRIVE_STANDBY__ENDPOINT", "http://127.0.0.1:1", "standby table"),
    ],
)
def test_a_system_that_does_not_answer_is_named_within_its_time(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, system: str
) -> None:
    monkeypatch.setenv(variable, value)
    before = time.monotonic()
    with pytest.raises(UnavailableError, match=system):
        platform.apply()
    assert time.monotonic() - before < 60


def test_one_cluster_of_two_that_is_away_keeps_the_other_from_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDRIVE_CLUSTERS__AWAY__BOOTSTRAP", "127.0.0.1:1")
    *done, unasked = platform.apply()
    assert {change.outcome for change in done} == {"done"}
    assert (unasked.cluster, unasked.action, unasked.outcome) == ("away", "ask", "failed")
    assert "cluster away" in unasked.reason

    result = CliRunner().invoke(app, ["topics", "list", "--json"])

    assert result.exit_code == 3
    states = {(row["cluster"], row["topic"]): row["state"] for row in json.loads(result.stdout)}
    assert states["away", None] == "does not answer"
    assert states["local", platform.topic] == "good"


def test_the_commands_give_tables_to_people_and_json_to_programs(platform: Platform) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.stdout

    code, applied = run("topics", "apply", "--json")
    assert code == 0
    assert {change["outcome"] for change in json.loads(applied)} == {"done"}
    assert run("topics", "apply") == (0, "All topics are what the settings say.\n")
    code, listed = run("topics", "list", "--json")
    (row,) = [row for row in json.loads(listed) if row["topic"] == platform.topic]
    assert row == {
        "cluster": "local",
        "topic": platform.topic,
        "domain": "sales",
        "partitions": 2,
        "replicas": 3,
        "lanes": 2,
        "schema": "order.avsc",
        "goes to": None,
        "state": "good",
    }
    platform.write('config = { "retention.ms" = "for ever" }')
    assert run("topics", "apply")[0] == 1
