"""The platform's roles as managed policies of IAM, word for word as `redrive security iam` gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from aws_cdk import aws_iam as iam
from constructs import Construct

from redrive.config import AwsConfig, Config, MskFleetConfig
from redrive.errors import ConfigError
from redrive.security.iam import policy
from redrive.security.roles import ROLES
from redrive.security.scoping import scopes

MOST = 6_144
"""Characters of a managed policy (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""
_UNIQUE = 38  # characters of the last part of a cluster's ARN, for which a token stands here


class Roles(Construct):
    """A policy for each role that needs no more to be said: jobs, gateway, administrator, governance.

    Producers, consumers and backfills are named when they are there: `redrive security iam` gives theirs.
    """

    def __init__(self, scope: Construct, id: str, config: Config, aws: AwsConfig, arns: Mapping[str, str]) -> None:
        super().__init__(scope, id)
        deployed = with_fleets(config, arns)
        self._policies: dict[str, iam.IManagedPolicy] = {}
        for role, name in names(config).items():
            document = policy(deployed, role, scopes(deployed, role, name), aws.account)
            _check_length(role, document, arns.values())
            made = iam.CfnManagedPolicy(
                self, role, policy_document=document, managed_policy_name=f"{aws.name}-{role}",
                description=f"Redrive: {ROLES[role].does}",
            )  # fmt: skip
            self._policies[role] = iam.ManagedPolicy.from_managed_policy_arn(self, f"{role}-policy", made.ref)

    def policies(self, *roles: str) -> list[iam.IManagedPolicy]:
        """Give the policies of roles."""
        return [self._policies[role] for role in roles]


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


def _check_length(role: str, document: dict[str, object], arns: Iterable[str]) -> None:
    text = json.dumps(document, separators=(",", ":"))
    for arn in arns:
        token = arn.rsplit("/", 1)[1]
        text = text.replace(token, "x" * _UNIQUE)
    if len(text) > MOST:
        reason = f"the policy of {role} would have {len(text):,} characters, and IAM takes {MOST:,}"
        raise ConfigError("topics", f"{reason}; share the topics out to two platforms, each with settings of its own")
