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
from redrive.security.roles import ROLES, Grant, Scope, grants
from redrive.security.scoping import scopes

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
schema = "paid.avsc"
[topics."dlq.shop"]
domain = "orders"
[topics."dlq.billing"]
domain = "orders"
[topics."dlq.gateway"]
domain = "orders"
[topics."moves.done"]
domain = "moves"
[topics."dlq.crane"]
domain = "moves"
[gateway.types]
"order.paid" = "orders.paid"
"order.settled" = "orders.paid"
[gateway.partners.acme]
types = ["order.paid"]
keys = ["sha256:{"0" * 64}"]
"""
NAMED = {"producer": "shop", "consumer": "billing", "gateway": "gateway"}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "redrive.toml").write_text(SETTINGS)
    (tmp_path / "paid.avsc").write_text("{}")
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    return Config.load()


def about(config: Config, role: str, *groups: str) -> list[Scope]:
    """What a role is about, if no more is said than has to be."""
    if ROLES[role].fills:
        return scopes(config, role, topics=["orders.created"], target="orders.paid", groups=groups)
    return scopes(config, role, NAMED.get(role, ""))


def of(config: Config, role: str, name: str = "", *topics: str, cluster: str = "sales") -> set[tuple[str, str, str]]:
    found = scopes(config, role, name, topics) if name or topics else about(config, role)
    return granted(role, next(scope for scope in found if scope.cluster == cluster))


def granted(role: str, scope: Scope) -> set[tuple[str, str, str]]:
    return {(grant.resource, grant.name, one) for grant in grants(role, scope) for one in grant.operations}


def test_a_producer_writes_its_topics_and_its_own_dead_letters_and_reads_nothing(config: Config) -> None:
    assert of(config, "producer", "shop", "orders.created") == {
        ("topic", "orders.created", "Write"),
        ("topic", "orders.created", "Describe"),
        ("topic", "dlq.shop", "Write"),
        ("topic", "dlq.shop", "Describe"),
    }


@pytest.mark.parametrize("role", ["producer", "consumer", "gateway"])
def test_dead_letters_are_granted_on_the_cluster_that_has_them_and_on_no_other(config: Config, role: str) -> None:
    sales, yard = scopes(config, role, "crane", ["orders.paid"])
    assert {name for kind, name, _ in granted(role, sales) if kind == "topic"} == {"orders.paid"}
    assert granted(role, yard) == {("topic", "dlq.crane", "Write"), ("topic", "dlq.crane", "Describe")}


def test_all_topics_of_a_producer_leave_out_dead_letters_of_others(config: Config) -> None:
    sales, yard = scopes(config, "producer", "shop")
    assert sales.topics == ("orders.created", "orders.paid", "dlq.shop")
    assert yard.topics == ("moves.done",)


def test_the_gateway_writes_the_topics_of_its_event_types_and_no_others(config: Config) -> None:
    (sales,) = scopes(config, "gateway")
    assert sales.topics == ("orders.paid", "dlq.gateway")
    (resource,) = [
        statement["Resource"]
        for statement in policy(config, "gateway", [sales])["Statement"]
        if "kafka-cluster:WriteData" in statement["Action"]
    ]
    assert sorted(resource) == [f"{TOPIC}/dlq.gateway", f"{TOPIC}/orders.paid"]


def test_the_gateway_is_called_as_in_its_settings(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRIVE_GATEWAY__NAME", "shop")
    result = CliRunner().invoke(app, ["security", "acls", "gateway"])
    assert result.exit_code == 0, result.output
    assert "User:shop" in result.output
    assert "--topic dlq.shop" in result.output


@pytest.mark.parametrize("role", ["producer", "consumer", "gateway"])
def test_a_name_without_a_dead_letter_topic_is_refused_with_the_way_out(config: Config, role: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no topic dlq.shpo.* {role} shpo; add it .*or correct --name"):
        scopes(config, role, "shpo")


def test_a_consumer_reads_as_its_group_only(config: Config) -> None:
    found = of(config, "consumer", "billing", "orders.paid")
    assert {name for resource, name, _ in found if resource == "group"} == {"billing"}
    assert ("topic", "orders.paid", "Write") not in found
    assert ("topic", "dlq.billing", "Write") in found


@pytest.mark.parametrize("role", ["dlq-triage", "broker-scaling", "cluster-health", "governance"])
def test_what_only_looks_may_change_nothing(config: Config, role: str) -> None:
    assert {operation for _, _, operation in of(config, role)} <= {"Read", "Describe", "DescribeConfigs"}


def test_a_job_can_fence_its_own_units_only_and_a_backfill_the_replay_of_its_source(config: Config) -> None:
    units = {
        "standby-replay": ["standby/sales/"],
        "schema-backfill": ["backfill/sales/", "standby/sales/orders.created/"],
    }
    for role, expected in units.items():
        scope, *_ = about(config, role)
        ids = [grant for grant in grants(role, scope) if grant.resource == "transactional-id"]
        assert ids == [
            Grant("transactional-id", f"redrive/{unit}", ("Write", "Describe"), prefixed=True) for unit in expected
        ]


def test_a_producer_whose_topic_may_be_switched_may_also_write_the_other_and_read_how(config: Config) -> None:
    (scope,) = scopes(config, "producer", "shop", ["orders.created"], target="orders.paid")
    more = granted("producer", scope) - of(config, "producer", "shop", "orders.created")
    assert {(name, operation) for _, name, operation in more} == {
        *(("orders.paid", one) for one in ("Write", "Describe")),
        *((name, one) for name in ("redrive.aliases", "redrive.checkpoints") for one in ("Read", "Describe")),
        ("redrive-readback", "Describe"),
    }


def test_only_those_that_make_topics_may_create_and_only_a_backfill_may_delete_one(config: Config) -> None:
    may: dict[str, set[str]] = {"Create": set(), "Delete": set()}
    for role in ROLES:
        for _, _, operation in of(config, role):
            may.setdefault(operation, set()).add(role)
    assert may["Create"] == {"administrator", "schema-backfill"}
    assert may["Delete"] == {"schema-backfill"}


def test_a_backfill_makes_and_deletes_its_target_and_no_other_topic(config: Config) -> None:
    (scope,) = about(config, "schema-backfill")
    may: dict[str, set[str]] = {}
    for resource, name, operation in granted("schema-backfill", scope):
        if resource == "topic" and not name.startswith("redrive."):
            may.setdefault(name, set()).add(operation)
    used = {"Read", "Write", "Describe", "DescribeConfigs"}
    assert may == {"orders.created": used, "orders.paid": used | {"Create", "Delete"}}


@pytest.mark.parametrize("groups", [[], ["billing", "audit"], ["*"]])
def test_a_backfill_moves_those_groups_that_it_is_given_and_sees_all(config: Config, groups: list[str]) -> None:
    (scope,) = about(config, "schema-backfill", *groups)
    found = granted("schema-backfill", scope)
    assert {name for kind, name, operation in found if (kind, operation) == ("group", "Read")} == set(groups)
    assert ("group", "*", "Describe") in found


@pytest.mark.parametrize(
    ("role", "topics", "target", "groups", "reason"),
    [
        ("schema-backfill", [], "orders.paid", [], "--topic: give the one topic that schema-backfill is to copy"),
        ("schema-backfill", ["orders.created", "moves.done"], "orders.paid", [], "--topic: give the one topic"),
        ("schema-backfill", ["orders.paid"], "", [], "--target: give the topic that schema-backfill is to fill"),
        ("schema-backfill", ["orders.paid"], "orders.paid", [], "--target: orders.paid is the source"),
        ("schema-backfill", ["orders.paid"], "dlq.shop", [], "--target: dlq.shop is for dead letters"),
        ("schema-backfill", ["dlq.shop"], "orders.paid", [], "--topic: dlq.shop is for dead letters"),
        ("schema-backfill", ["orders.paid"], "moves.done", [], "cluster yard, and orders.paid on sales"),
        ("schema-backfill", ["orders.paid"], "orders.v2", [], "topics.orders.v2: there is no such topic"),
        ("dlq-triage", [], "orders.paid", [], "--target: a dlq-triage has none"),
        ("dlq-triage", [], "", ["billing"], "--group: a dlq-triage has none"),
    ],
)
def test_topics_that_make_no_backfill_are_refused_with_the_way_out(
    config: Config, *, role: str, topics: list[str], target: str, groups: list[str], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        scopes(config, role, topics=topics, target=target, groups=groups)


def test_governance_reads_topics_aliases_and_what_is_parked_and_sees_where_dead_letters_end(config: Config) -> None:
    both = ("Read", "Describe")
    assert of(config, "governance", cluster="yard") == {
        *(("topic", topic, one) for topic in ("moves.done", "redrive.parked", "redrive.aliases") for one in both),
        ("topic", "dlq.crane", "Describe"),
        ("group", "redrive-readback", "Describe"),
    }
    *_, table = statements(config, "governance")
    assert table["Action"] == ["dynamodb:Query"]


def test_clusters_that_a_role_has_nothing_to_do_with_are_left_out(config: Config) -> None:
    assert [scope.cluster for scope in scopes(config, "producer", "crane", ["moves.done"])] == ["yard"]
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
    asked = scopes(config, role, name, topics) if name or topics else about(config, role)
    document = policy(config, role, asked)
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
    for statement in statements(config, role):
        actions = {one.partition(":")[2] for one in statement["Action"]}
        for action in actions & REQUIRED.keys():
            assert actions >= REQUIRED[action], statement


def test_scaling_asks_msk_for_load_and_brokers_and_no_other_role_does(config: Config) -> None:
    asked = {
        (role, action)
        for role in ROLES
        for statement in statements(config, role)
        for action in statement["Action"]
        if action.startswith(("kafka:", "cloudwatch:"))
    }
    assert asked == {
        ("broker-scaling", "kafka:DescribeClusterV2"),
        ("broker-scaling", "kafka:UpdateBrokerCount"),
        ("broker-scaling", "cloudwatch:GetMetricData"),
    }


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


def test_a_backfill_is_given_by_its_options(config: Config) -> None:
    options = ["schema-backfill", "--topic", "orders.created", "--target", "orders.paid", "--group", "billing"]
    told = CliRunner().invoke(app, ["security", "acls", *options]).stdout.splitlines()
    (deleting,) = [line for line in told if "--operation Delete" in line]
    assert deleting.endswith("--topic orders.paid")
    document = json.loads(CliRunner().invoke(app, ["security", "iam", *options]).stdout)
    (statement,) = [one for one in document["Statement"] if "kafka-cluster:DeleteTopic" in one["Action"]]
    assert statement["Resource"] == [f"{TOPIC}/orders.paid"]
    (statement,) = [one for one in document["Statement"] if "kafka-cluster:AlterGroup" in one["Action"]]
    assert [arn.rpartition("/")[2] for arn in statement["Resource"]] == ["billing"]


@pytest.mark.parametrize("role", ["standby-replay", "dlq-correction"])
def test_what_publishes_for_producers_reads_where_they_publish_now(config: Config, role: str) -> None:
    assert ("topic", "redrive.aliases", "Read") in of(config, role)
