"""What CloudFormation can do to a platform that is there: it refuses to remove what another stack uses."""

from __future__ import annotations

import pytest
from aws_cdk import App

from deployments.aws.data_stack import DataStack
from deployments.aws.jobs_stack import JobsStack
from redrive.config import Config
from tests.aws.conftest import EXAMPLE
from tests.aws.template import Platform

MANY = 80


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
        JobsStack(app, "redrive-jobs", config.aws, data)
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
