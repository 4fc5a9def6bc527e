"""The platform's roles as managed policies of IAM, word for word as `redrive security iam` gives them.

A policy that is too long for IAM is there in parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Annotations
from aws_cdk import aws_iam as iam
from constructs import Construct

from deployments.aws.policy_parts import Document, parts
from redrive.config import AwsConfig, Config, MskFleetConfig
from redrive.errors import ConfigError
from redrive.security.iam import policy
from redrive.security.roles import ROLES
from redrive.security.scoping import scopes

WITHOUT_ASKING, MOST = 10, 20
"""Managed policies that a role of IAM takes, without and with a request to AWS
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""


class Roles(Construct):
    """Policies for each role that needs no more to be said: jobs, gateway, administrator, governance.

    Producers, consumers and backfills are named when they are there: `redrive security iam` gives theirs.
    """

    def __init__(self, scope: Construct, id: str, config: Config, aws: AwsConfig, arns: Mapping[str, str]) -> None:
        super().__init__(scope, id)
        deployed = with_fleets(config, arns)
        tokens = [arn.rsplit("/", 1)[1] for arn in arns.values()]
        self._name = aws.name
        self._policies = {
            role: self._make(role, parts(policy(deployed, role, scopes(deployed, role, name), aws.account), tokens))
            for role, name in names(config).items()
        }

    def policies(self, *roles: str) -> list[iam.IManagedPolicy]:
        """Give the policies of roles, for one role of IAM.

        Raises:
            ConfigError: it would be more than one can have.
        """
        found = [policy for role in roles for policy in self._policies[role]]
        if len(found) > MOST:
            reason = f"rights on so many need {len(found)} policies, and a role of IAM takes {MOST}"
            raise ConfigError("topics", f"{reason}; share the topics out to two platforms, with settings of their own")
        if len(found) > WITHOUT_ASKING:
            text = f"The worker's role has {len(found)} policies; have AWS raise the quota from {WITHOUT_ASKING} first."
            Annotations.of(self).add_warning_v2("redrive:policies-of-a-role", text)
        return found

    def _make(self, role: str, documents: Sequence[Document]) -> list[iam.IManagedPolicy]:
        made = []
        for number, document in enumerate(documents, start=1):
            # The first part is named as the whole one was: what the other stacks have of it stays when a policy grows.
            name = role if number == 1 else f"{role}-{number}"
            policy = iam.CfnManagedPolicy(
                self,
                name,
                policy_document=document,
                managed_policy_name=f"{self._name}-{name}",
                # Never changed: another description is another policy to CloudFormation, which can't make that under
                # the same name. What the role does may be put in better words.
                description=f"Redrive: {role}",
            )
            made.append(iam.ManagedPolicy.from_managed_policy_arn(self, f"{name}-policy", policy.ref))
        return made


def names(config: Config) -> dict[str, str]:
    """Give the roles that there is a policy for, with the name that `redrive security iam` wants, if it wants one."""
    known = {name: "" for name, role in ROLES.items() if not (role.named or role.fills)}
    return known | ({"gateway": config.gateway.name} if config.gateway else {})


def jobs() -> list[str]:
    """Give the roles that the worker has: all jobs, save for backfills, each of which is allowed for itself."""
    return [name for name, role in ROLES.items() if role.does.startswith("the job") and not role.fills]


def with_fleets(config: Config, arns: Mapping[str, str]) -> Config:
    """Give the settings with each cluster's brokers on Amazon MSK, under the ARN that is or will be theirs."""
    clusters = {
        name: given.model_copy(update={"fleet": MskFleetConfig.model_construct(kind="msk", arn=arns[name])})
        for name, given in config.clusters.items()
    }
    return config.model_copy(update={"clusters": clusters})
