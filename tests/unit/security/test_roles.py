"""Each role gets what it needs, by ACLs and by IAM, and nothing of what others need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from redrive.cli import app
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.security.acls import acls, commands
from redrive.security.iam import policy
from redrive.security.roles import ROLES, Grant, grants, scopes

ARN = "arn:aws:kafka:eu-west-1:123456789012:cluster/sales/0b1c2d3e-aaaa-bbbb-cccc-1234567890ab-4"
TOPIC = "arn:aws:kafka:eu-west-1:123456789012:topic/sales/0b1c2d3e-aaaa-bbbb-cccc-1234567890ab-4"
SETTINGS = f"""\
[standby]
table = "standby"
region = "eu-west-1"
[registry]
url = "http://registry.example"
[clusters.sales]
bootstrap = "sales.example:9092"
[clusters.sales.fleet]
kind = "msk"
arn = "{ARN}"
[clusters.yard]
bootstrap = "yard.example:9092"
[domains.orders]
cluster = "sales"
[domains.moves]
cluster = "yard"
[topics."orders.created"]
domain = "orders"
[topics."orders.paid"]
domain = "orders"
[topics."dlq.shop"]
domain = "orders"
[topics."moves.done"]
domain = "moves"
"""
NAMED = {"producer": "shop", "consumer": "billing", "gateway": "gateway"}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "redrive.toml").write_text(SETTINGS)
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    return Config.load()


def of(config: Config, role: str, name: str = "", *topics: str, cluster: str = "sales") -> set[tuple[str, str, str]]:
    (scope,) = (scope for scope in scopes(config, role, name, topics) if scope.cluster == cluster)
    return {(grant.resource, grant.name, one) for grant in grants(role, scope) for one in grant.operations}


def test_a_producer_writes_its_topics_and_its_own_dead_letters_and_reads_nothing(config: Config) -> None:
    assert of(config, "producer", "shop", "orders.created") == {
        ("topic", "orders.created", "Write"),
        ("topic", "orders.created", "Describe"),
        ("topic", "dlq.shop", "Write"),
        ("topic", "dlq.shop", "Describe"),
    }


def test_a_consumer_reads_as_its_group_only(config: Config) -> None:
    found = of(config, "consumer", "billing", "orders.paid")
    assert {name for resource, name, _ in found if resource == "group"} == {"billing"}
    assert ("topic", "orders.paid", "Write") not in found
    assert ("topic", "dlq.billing", "Write") in found


@pytest.mark.parametrize("role", ["dlq-triage", "broker-scaling", "cluster-health"])
def test_what_only_looks_may_change_nothing(config: Config, role: str) -> None:
    assert {operation for _, _, operation in of(config, role)} <= {"Read", "Describe", "DescribeConfigs"}


@pytest.mark.parametrize(("role", "unit"), [("standby-replay", "standby"), ("schema-backfill", "backfill")])
def test_a_job_can_fence_its_own_units_only(config: Config, role: str, unit: str) -> None:
    (scope, _) = scopes(config, role)
    ids = [grant for grant in grants(role, scope) if grant.resource == "transactional-id"]
    assert ids == [Grant("transactional-id", f"redrive/{unit}/sales/", ("Write", "Describe"), prefixed=True)]


def test_only_those_that_make_topics_may_create_and_only_a_backfill_may_delete_one(config: Config) -> None:
    may: dict[str, set[str]] = {"Create": set(), "Delete": set()}
    for role in ROLES:
        for _, _, operation in of(config, role, NAMED.get(role, "")):
            may.setdefault(operation, set()).add(role)
    assert may["Create"] == {"administrator", "schema-backfill"}
    assert may["Delete"] == {"schema-backfill"}


def test_clusters_that_a_role_has_nothing_to_do_with_are_left_out(config: Config) -> None:
    assert [scope.cluster for scope in scopes(config, "producer", "shop", ["moves.done"])] == ["yard"]
    assert [scope.cluster for scope in scopes(config, "dlq-triage")] == ["sales", "yard"]


@pytest.mark.parametrize(
    ("role", "name", "reason"),
    [
        ("producer", "", "say which producer"),
        ("dlq-triage", "x", "there is only one"),
        ("nobody", "", "there is no role 'nobody'"),
    ],
)
def test_a_wrong_role_is_told_with_the_way_out(config: Config, role: str, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        scopes(config, role, name)


def test_commands_are_what_kafka_acls_takes() -> None:
    wanted = acls(
        "User:a b", [Grant("transactional-id", "redrive/x/", ("Write",), True), Grant("cluster", "", ("Alter",))]
    )
    first, second = commands("k:9092", wanted)
    beginning = (
        "kafka-acls.sh --bootstrap-server k:9092 --command-config admin.properties --add --allow-principal 'User:a b' "
    )
    assert first == beginning + "--operation Write --transactional-id redrive/x/ --resource-pattern-type prefixed"
    assert second == beginning + "--operation Alter --cluster"


def test_a_principal_needs_a_type() -> None:
    with pytest.raises(ConfigError, match="write User:shop"):
        acls("shop", [])


def statements(config: Config, role: str, name: str = "", *topics: str) -> list[dict[str, Any]]:
    document = policy(config, role, scopes(config, role, name, topics))
    assert document["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = document["Statement"]
    assert all(one["Effect"] == "Allow" and one["Action"] and one["Resource"] for one in found)
    assert len({one["Sid"] for one in found}) == len(found)
    return found


def test_a_producer_s_policy_is_complete_and_names_its_topics_and_the_table(config: Config) -> None:
    cluster, topics, table = statements(config, "producer", "shop", "orders.created")
    assert cluster["Action"] == ["kafka-cluster:Connect", "kafka-cluster:WriteDataIdempotently"]
    assert cluster["Resource"] == [ARN]
    assert topics["Action"] == ["kafka-cluster:WriteData", "kafka-cluster:DescribeTopic"]
    assert topics["Resource"] == [f"{TOPIC}/orders.created", f"{TOPIC}/dlq.shop"]
    assert table["Resource"] == ["arn:aws:dynamodb:eu-west-1:123456789012:table/standby"]
    assert "dynamodb:DeleteItem" not in table["Action"]


# Amazon MSK Developer Guide, "Semantics of IAM authorization policy actions and resources": what requires what.
REQUIRED = {
    "ReadData": {"DescribeTopic"},
    "WriteData": {"DescribeTopic"},
    "DeleteTopic": {"DescribeTopic"},
    "AlterTopic": {"DescribeTopic"},
    "AlterTopicDynamicConfiguration": {"DescribeTopicDynamicConfiguration"},
    "AlterGroup": {"DescribeGroup"},
    "AlterTransactionalId": {"DescribeTransactionalId"},
    "AlterCluster": {"DescribeCluster"},
    "AlterClusterDynamicConfiguration": {"DescribeClusterDynamicConfiguration"},
}


@pytest.mark.parametrize("role", list(ROLES))
def test_no_action_is_without_those_that_aws_requires_beside_it(config: Config, role: str) -> None:
    for statement in statements(config, role, NAMED.get(role, "")):
        actions = {one.partition(":")[2] for one in statement["Action"]}
        for action in actions & REQUIRED.keys():
            assert actions >= REQUIRED[action], statement


def test_scaling_may_ask_msk_for_brokers_and_health_may_not(config: Config) -> None:
    def actions(role: str) -> set[str]:
        return {action for statement in statements(config, role) for action in statement["Action"]}

    assert "kafka:UpdateBrokerCount" in actions("broker-scaling")
    assert "kafka:UpdateBrokerCount" not in actions("cluster-health")
    assert "cloudwatch:GetMetricData" in actions("cluster-health")


def test_iam_says_which_clusters_it_knows_nothing_of(config: Config) -> None:
    result = CliRunner().invoke(app, ["security", "iam", "dlq-triage"])
    assert "without yard: by the settings it is not on Amazon MSK" in result.stderr
    assert "yard" not in result.stdout
    assert json.loads(result.stdout)["Version"] == "2012-10-17"


def test_acls_are_told_to_programs_by_cluster(config: Config) -> None:
    result = CliRunner().invoke(app, ["security", "acls", "producer", "--name", "shop", "--json"])
    sales, yard = json.loads(result.stdout)
    assert (sales["cluster"], yard["cluster"], sales["applied"]) == ("sales", "yard", False)
    assert sales["acls"][0] == {
        "principal": "User:shop",
        "resource": "topic",
        "name": "orders.created",
        "pattern": "LITERAL",
        "operation": "Write",
    }
