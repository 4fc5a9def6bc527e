"""A role's grants as a policy of AWS IAM: for Amazon MSK with IAM access control, the standby table, and the fleet.

MSK's actions, and which others each of them requires: Amazon MSK Developer Guide, "Semantics of IAM authorization
policy actions and resources".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from redrive.config import ClusterConfig, Config, MskFleetConfig
from redrive.security.roles import Grant, Operation, Resource, Scope, grants, role

_ACTIONS: dict[tuple[Resource, Operation], tuple[str, ...]] = {
    ("topic", "Read"): ("ReadData", "DescribeTopic"),
    ("topic", "Write"): ("WriteData", "DescribeTopic"),
    ("topic", "Create"): ("CreateTopic",),
    ("topic", "Delete"): ("DeleteTopic", "DescribeTopic"),
    ("topic", "Alter"): ("AlterTopic", "DescribeTopic"),
    ("topic", "Describe"): ("DescribeTopic",),
    ("topic", "DescribeConfigs"): ("DescribeTopicDynamicConfiguration",),
    ("topic", "AlterConfigs"): ("AlterTopicDynamicConfiguration", "DescribeTopicDynamicConfiguration"),
    ("group", "Read"): ("AlterGroup", "DescribeGroup"),
    ("group", "Describe"): ("DescribeGroup",),
    ("transactional-id", "Write"): ("AlterTransactionalId", "DescribeTransactionalId"),
    ("transactional-id", "Describe"): ("DescribeTransactionalId",),
    ("cluster", "Create"): (),  # of topics, which is allowed topic by topic
    ("cluster", "Alter"): ("AlterCluster", "DescribeCluster"),
    ("cluster", "Describe"): ("DescribeCluster",),
    ("cluster", "DescribeConfigs"): ("DescribeClusterDynamicConfiguration",),
    ("cluster", "AlterConfigs"): ("AlterClusterDynamicConfiguration", "DescribeClusterDynamicConfiguration"),
}
_FLEET = ("kafka:DescribeClusterV2", "kafka:UpdateBrokerCount")


def policy(config: Config, role_name: str, scopes: Sequence[Scope], account: str = "") -> dict[str, Any]:
    """Give the policy of a role, on all clusters of the settings together.

    Args:
        config: the settings; a cluster whose fleet is Amazon MSK has its ARN there. Of others IAM knows nothing.
        role_name: the role.
        scopes: what it is about.
        account: the number of the account that has the standby table; empty: that of the clusters' ARNs, else any.

    Raises:
        ConfigError: there is no such role.
    """
    clusters = [(scope, arn) for scope in scopes if (arn := cluster_arn(config.clusters[scope.cluster]))]
    statements = [one for scope, arn in clusters for one in _kafka(grants(role_name, scope), scope.cluster, arn)]
    needs = role(role_name)
    if needs.table:
        partition, number = "aws", account or "*"
        for _, arn in clusters[:1]:
            partition, number = arn.split(":")[1], account or arn.split(":")[4]
        table = f"arn:{partition}:dynamodb:{config.standby.region}:{number}:table/{config.standby.table}"
        statements.append(_statement("Standby", [f"dynamodb:{action}" for action in needs.table], [table]))
    if needs.fleet and clusters:
        arns = [arn for _, arn in clusters]
        statements.append(_statement("Fleet", _FLEET, arns))
        statements.append(_statement("Load", ["cloudwatch:GetMetricData"], ["*"]))  # it knows no resources
    return {"Version": "2012-10-17", "Statement": statements}


def cluster_arn(cluster: ClusterConfig) -> str:
    """Give the ARN of a cluster of Amazon MSK; empty for another."""
    return cluster.fleet.arn if isinstance(cluster.fleet, MskFleetConfig) else ""


def _kafka(granted: Sequence[Grant], cluster: str, arn: str) -> Iterator[dict[str, Any]]:
    """Yield a statement for each set of actions: those of the cluster first."""
    name = "".join(part.capitalize() for part in re.split(r"[^a-z0-9]+", cluster))
    beside = ["Connect"]
    if any("Write" in grant.operations for grant in granted if grant.resource == "topic"):
        beside.append("WriteDataIdempotently")
    of: dict[tuple[str, ...], list[str]] = {}
    for grant in granted:
        actions = tuple(dict.fromkeys(one for each in grant.operations for one in _ACTIONS[grant.resource, each]))
        if grant.resource == "cluster":
            beside += actions
        elif actions:
            of.setdefault(actions, []).append(_arn(arn, grant))
    yield _statement(f"{name}Cluster", [f"kafka-cluster:{one}" for one in dict.fromkeys(beside)], [arn])
    for number, (actions, arns) in enumerate(of.items(), start=1):
        yield _statement(f"{name}{number}", [f"kafka-cluster:{one}" for one in actions], arns)


def _arn(cluster: str, grant: Grant) -> str:
    beginning, _, rest = cluster.partition(":cluster/")
    name = grant.name + ("*" if grant.prefixed else "")
    return f"{beginning}:{grant.resource}/{rest}/{name}"


def _statement(sid: str, actions: Sequence[str], resources: Sequence[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
