"""A role's grants as Kafka's ACLs: for people as commands, for programs as JSON, for a cluster as bindings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from redrive.clusters import ClusterAdmin
from redrive.config import Cluster
from redrive.errors import ConfigError
from redrive.security.roles import Grant, Operation, Resource


@dataclass(frozen=True, slots=True)
class Acl:
    """One ACL that allows something, from any host.

    Attributes:
        principal: who, such as ``User:orders-service``.
        resource: the kind of resource.
        name: the resource's name; ``kafka-cluster`` for a cluster.
        pattern: ``LITERAL`` or ``PREFIXED``; a literal ``*`` stands for all.
        operation: what.
    """

    principal: str
    resource: Resource
    name: str
    pattern: str
    operation: Operation


def acls(principal: str, grants: Iterable[Grant]) -> list[Acl]:
    """Give the ACLs by which a principal may do what is granted.

    Raises:
        ConfigError: the principal has no type.
    """
    if ":" not in principal:
        raise ConfigError("--principal", f"{principal} has no type; write User:{principal}")
    return [
        Acl(principal, grant.resource, grant.name or "kafka-cluster", "PREFIXED" if grant.prefixed else "LITERAL", one)
        for grant in grants
        for one in grant.operations
    ]


def commands(bootstrap: str, wanted: Sequence[Acl]) -> Iterator[str]:
    """Yield a ``kafka-acls`` command for each resource."""
    of: dict[tuple[str, Resource, str, str], list[str]] = {}
    for acl in wanted:
        of.setdefault((acl.principal, acl.resource, acl.name, acl.pattern), []).append(acl.operation)
    for (principal, resource, name, pattern), operations in of.items():
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--command-config", "admin.properties", "--add"]
        words += ["--allow-principal", principal]
        words += [word for operation in operations for word in ("--operation", operation)]
        words += ["--cluster"] if resource == "cluster" else [f"--{resource}", name]
        words += ["--resource-pattern-type", "prefixed"] if pattern == "PREFIXED" else []
        yield shlex.join(words)


def apply(cluster: Cluster, wanted: Sequence[Acl]) -> None:
    """Have a cluster allow all that; what it allows already stays, and nothing is taken away.

    Raises:
        UnavailableError: the cluster does not answer in time.
        RefusedByClusterError: it answers, and says no.
    """
    ClusterAdmin(cluster).create_acls([_binding(acl) for acl in wanted])


def _binding(acl: Acl) -> AclBinding:
    kinds = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "cluster": ResourceType.BROKER,  # confluent-kafka's name for a cluster here
        "transactional-id": ResourceType.TRANSACTIONAL_ID,
    }
    operation = "".join(f"_{letter}" if letter.isupper() else letter for letter in acl.operation).strip("_").upper()
    return AclBinding(
        kinds[acl.resource],
        acl.name,
        ResourcePatternType[acl.pattern],
        acl.principal,
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )
