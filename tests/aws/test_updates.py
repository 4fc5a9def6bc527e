"""What CloudFormation can do to a platform that is there.

It refuses to remove what another stack uses, and to replace what has a name of ours: the new one would be made first.
"""

from __future__ import annotations

import pytest
from aws_cdk import App
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from deployments.aws.data_stack import DataStack
from deployments.aws.jobs_stack import JobsStack
from redrive.config import Config
from tests.aws.conftest import EXAMPLE
from tests.aws.template import REGION, Platform

MANY = 80
NAMED = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::KMS::Alias": "AliasName",
    "AWS::MSK::Cluster": "ClusterName",
    "AWS::MSK::Configuration": "Name",
}
"""What has names of ours."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The example's data and jobs when there are so many topics that policies are in parts."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REDRIVE_CONFIG", str(EXAMPLE))
        config = Config.load()
        more = {f"menu.number-{number}-of-a-great-many": config.topics["menu.changed"] for number in range(MANY)}
        config = config.model_copy(update={"topics": config.topics | more})
        assert config.aws is not None
        app = App(outdir=str(tmp_path_factory.mktemp("grown")))
        data = DataStack(app, "redrive-data", config, config.aws)
        JobsStack(app, "redrive-jobs", config, config.aws, data)
        return Platform(app.synth())


def test_a_policy_that_now_needs_parts_leaves_the_other_stacks_what_they_have_of_it(
    platform: Platform, grown: Platform
) -> None:
    before = {one["ManagedPolicyName"] for one in platform.properties("AWS::IAM::ManagedPolicy")}
    now = {one["ManagedPolicyName"] for one in grown.properties("AWS::IAM::ManagedPolicy")}
    assert "redrive-standby-replay-2" in now - before
    assert before - {"redrive-gateway"} <= now
    # The stack with data is updated first, while the others are as they were.
    still_used = platform.imports("jobs")
    assert still_used
    assert still_used <= grown.exports("data")
    assert grown.imports("jobs") <= grown.exports("data")


def fixed(kind: str) -> set[str]:
    """Give the properties that a resource of a type is replaced for, save those within others."""
    paths = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema["createOnlyProperties"]
    return {path.removeprefix("/properties/") for path in paths if path.count("/") == 2}


@pytest.mark.parametrize("kind", NAMED)
def test_what_has_a_name_is_never_replaced_for_anything_else(platform: Platform, kind: str) -> None:
    found = platform.properties(kind)
    assert found
    for one in found:
        for name in fixed(kind) & one.keys() - {NAMED[kind]}:
            # A policy's description is its name: it does not change with the words for what a role does.
            assert (name, one[name]) == ("Description", f"Redrive: {one[NAMED[kind]].removeprefix('redrive-')}")


def test_no_other_kind_of_resource_has_a_name_of_ours(platform: Platform) -> None:
    named = {
        resource["Type"]
        for template in platform.stacks.values()
        for resource in template["Resources"].values()
        for name, value in resource.get("Properties", {}).items()
        if name == "Name" or name.endswith("Name")
        if isinstance(value, str) and value.startswith("redrive-")
    }
    assert named == NAMED.keys() - {"AWS::KMS::Alias"}


def test_brokers_are_bound_to_nothing_that_changes_with_words_of_ours(platform: Platform) -> None:
    groups = platform.resources("AWS::EC2::SecurityGroup", "data")
    for cluster in platform.properties("AWS::MSK::Cluster"):
        (group,) = cluster["BrokerNodeGroupInfo"]["SecurityGroups"]
        described = groups[group.removesuffix(".GroupId")]["Properties"]["GroupDescription"]
        assert described == "Redrive: brokers", (
            "with another one it is another group, and a cluster can't change its own"
        )
