"""Rights: each role has just what `redrive security iam` gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aws_cdk import App, Stack
from typer.testing import CliRunner

from deployments.aws.policy_parts import MOST, parts
from deployments.aws.roles import Roles, jobs
from redrive.cli import app
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.security.roles import ROLES
from tests.aws.conftest import EXAMPLE
from tests.aws.template import ACCOUNT, REGION, UNIQUE, Platform

DEPLOYMENTS = Path(__file__).parents[2] / "prefect.yaml"
POLICIES = ["gateway", *(name for name, role in ROLES.items() if not (role.named or role.fills))]


def policies(platform: Platform) -> dict[str, dict[str, Any]]:
    return {
        one["ManagedPolicyName"].removeprefix("redrive-"): one["PolicyDocument"]
        for one in platform.properties("AWS::IAM::ManagedPolicy")
    }


@pytest.fixture
def settings_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's settings when its clusters are there and their ARNs have been written into them."""
    schemas = EXAMPLE.parents[2] / "schemas"
    text = EXAMPLE.read_text().replace("../../schemas", str(schemas))
    for name in ("orders", "menu-eu"):
        arn = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/redrive-{name}/{UNIQUE}"
        text += f'\n[clusters.{name}.fleet]\nkind = "msk"\narn = "{arn}"\n'
    (tmp_path / "redrive.toml").write_text(text)
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))


@pytest.mark.usefixtures("settings_afterwards")
@pytest.mark.parametrize("role", POLICIES)
def test_a_role_s_policy_is_what_redrive_security_iam_says(platform: Platform, role: str) -> None:
    said = CliRunner().invoke(app, ["security", "iam", role])
    assert said.exit_code == 0, said.output
    assert policies(platform)[role] == json.loads(said.stdout)


def test_the_gateway_may_write_the_topics_of_its_event_types_and_no_other_main_topic(platform: Platform) -> None:
    resources = [
        name.rpartition("/")[2]
        for statement in policies(platform)["gateway"]["Statement"]
        if "kafka-cluster:WriteData" in statement["Action"]
        for name in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    ]
    assert sorted(resources) == ["dlq.gateway", "flights.departed"]


def test_there_is_a_policy_for_every_role_that_needs_no_more_to_be_said(platform: Platform) -> None:
    assert sorted(policies(platform)) == sorted(POLICIES)


def test_the_worker_may_do_what_the_deployed_jobs_do_but_no_backfill(platform: Platform) -> None:
    told = yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]
    deployed = {one["name"].removesuffix("-by-itself") for one in told}
    assert set(jobs()) == deployed - {"schema-backfill"}
    attached = {
        name.split("Role")[0]: [arn.rsplit("/redrive-")[-1] for arn in role["Properties"].get("ManagedPolicyArns", [])]
        for name, role in platform.resources("AWS::IAM::Role").items()
        if "Execution" not in name and not name.startswith(("Tell", "AWS679"))
    }
    assert attached == {
        "Worker": jobs(),
        "SetUp": ["administrator"],
        "Gateway": ["gateway"],
        "Registry": [],
        "Prefect": [],
    }


def test_no_policy_gives_all_rights_or_rights_on_everything(platform: Platform) -> None:
    of_roles = [one["PolicyDocument"] for one in platform.properties("AWS::IAM::Policy")]
    statements = [one for policy in (*of_roles, *policies(platform).values()) for one in policy["Statement"]]
    assert len(statements) > 40
    on_all = set()
    for one in statements:
        actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        assert not [action for action in actions if action == "*" or action.endswith(":*")]
        if one["Resource"] in ("*", ["*"]):
            on_all |= set(actions)
    # Neither knows resources: https://docs.aws.amazon.com/service-authorization/latest/reference/
    assert on_all == {"ecr:GetAuthorizationToken", "cloudwatch:GetMetricData"}


def test_the_key_is_for_the_account_s_own_people_and_only_through_what_is_encrypted_with_it(platform: Platform) -> None:
    (key,) = platform.properties("AWS::KMS::Key")
    assert key["EnableKeyRotation"] is True
    (for_all,) = (one for one in key["KeyPolicy"]["Statement"] if one["Principal"] == {"AWS": "*"})
    assert for_all["Condition"] == {
        "StringEquals": {
            "kms:CallerAccount": ACCOUNT,
            "kms:ViaService": [f"dynamodb.{REGION}.amazonaws.com", f"secretsmanager.{REGION}.amazonaws.com"],
        }
    }


def test_of_aws_s_own_policies_only_those_that_functions_need_to_run_are_used(platform: Platform) -> None:
    own = {
        arn.rsplit("/")[-1]
        for role in platform.properties("AWS::IAM::Role")
        for arn in role.get("ManagedPolicyArns", [])
        if ":aws:policy/" in arn
    }
    assert own == {"AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole"}


def granted(documents: list[dict[str, Any]]) -> set[tuple[str, str]]:
    statements = [one for document in documents for one in document["Statement"]]
    return {(action, resource) for one in statements for action in one["Action"] for resource in one["Resource"]}


def test_a_policy_that_is_too_long_for_iam_is_shared_out_and_grants_the_same() -> None:
    topics = [
        f"arn:aws:kafka:eu-west-1:123456789012:topic/redrive-orders/TOKEN/orders.{number}" for number in range(300)
    ]
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Orders1", "Effect": "Allow", "Action": ["kafka-cluster:ReadData"], "Resource": topics},
            {"Sid": "Orders2", "Effect": "Allow", "Action": ["kafka-cluster:WriteData"], "Resource": topics[:20]},
            {"Sid": "Load", "Effect": "Allow", "Action": ["cloudwatch:GetMetricData"], "Resource": ["*"]},
        ],
    }
    shared = parts(document, ["TOKEN"])
    assert granted(shared) == granted([document])
    assert 4 < len(shared) < 12
    for one in shared:
        assert len(json.dumps(one, separators=(",", ":")).replace("TOKEN", UNIQUE)) <= MOST
        sids = [statement["Sid"] for statement in one["Statement"]]
        assert len(set(sids)) == len(sids)


def test_more_policies_than_a_role_of_iam_can_have_are_refused(tmp_path: Path) -> None:
    config = Config.load(EXAMPLE)
    topic = config.topics["menu.changed"]
    many = {f"menu.number-{number}-of-a-great-many": topic for number in range(500)}
    arns = {name: f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/redrive-{name}/{UNIQUE}" for name in config.clusters}
    stack = Stack(App(outdir=str(tmp_path)), "many")
    assert config.aws is not None
    roles = Roles(stack, "Roles", config.model_copy(update={"topics": config.topics | many}), config.aws, arns)
    assert len(roles.policies("standby-replay")) > 1
    with pytest.raises(ConfigError, match="policies, and a role of IAM takes 20; share the topics out"):
        roles.policies(*jobs())


def test_a_policy_that_fits_stays_as_it_is() -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Sid": "One", "Action": ["a:b"], "Resource": ["c"]}]}
    assert parts(document) == [document]
