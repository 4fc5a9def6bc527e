"""The section ``[aws]``: what ``deployments/aws`` has to know beside the rest of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from redrive.config import msk_iam
from redrive.config.gateway import CLOSING, GatewayConfig
from redrive.config.mistakes import Mistake, numbers, table
from redrive.config.sections import Name, Section, StandbyConfig

LONGEST_STOP = 120
"""Seconds that a task on Fargate gets to stop, at most (ContainerDefinition's ``stopTimeout`` in Amazon ECS's API)."""
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]


class MskConfig(Section):
    """One cluster's brokers on Amazon MSK.

    Attributes:
        brokers: how many, a multiple of the zones; one in each zone if not given. Once `broker-scaling` has added some,
            write here how many there are.
        instance: their type.
        storage_gb: GiB of each broker's disk. It can be made larger, and not smaller.
    """

    brokers: Annotated[int, Field(ge=2, le=60)] | None = None
    instance: Annotated[str, StringConstraints(pattern=r"^kafka\.[a-z0-9]+\.[a-z0-9]+$")] = "kafka.m7g.large"
    storage_gb: Annotated[int, Field(ge=1, le=16_384)] = 100


class AwsConfig(Section):
    """Where on AWS, and how large. The region is that of the standby table.

    Attributes:
        account: the account's number.
        zones: two or three availability zones; brokers, databases and tasks are spread over them.
        name: what names of stacks and clusters begin with; another one for a second platform in the same account.
        certificate: ARN of the gateway's certificate in AWS Certificate Manager.
        gateways: how many tasks serve partners. Each counts quotas for itself.
        notify: e-mail address that is told of alarms.
        clusters: by name; those that are not here have what is said above if not given.
    """

    account: Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
    zones: Annotated[list[Zone], Field(min_length=2, max_length=3)]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,19}$")] = "redrive"
    certificate: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:\S+$")] | None = None
    gateways: Annotated[int, Field(ge=1, le=100)] = 2
    notify: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    clusters: dict[Name, MskConfig] = Field(default_factory=dict)

    def msk(self, cluster: str) -> MskConfig:
        """Give what is to be made for a cluster; its number of brokers is filled in."""
        given = self.clusters.get(cluster, MskConfig())
        return given.model_copy(update={"brokers": given.brokers or len(self.zones)})


def section_of(path: tuple[str, ...]) -> type[BaseModel]:
    """Return the table that the setting at ``path`` (which begins with ``aws``) stands in."""
    return MskConfig if path[1:2] == ("clusters",) and len(path) > 3 else AwsConfig


def misfits(given: Mapping[str, Any]) -> Iterator[Mistake]:
    """Find what is wrong between ``[aws]`` and the rest; ``given`` is all settings."""
    aws = given.get("aws")
    if not isinstance(aws, dict):
        return
    clusters = table(given, "clusters")
    yield from _of_zones(aws, table(given, "standby"))
    for name, made in table(aws, "clusters").items():
        if name not in clusters:
            there = ", ".join(sorted(clusters)) or "none"
            yield ("aws", "clusters", name), f"there is no cluster {name!r}; there are {there}"
        elif isinstance(made, dict):
            yield from _of_brokers(name, made, aws)
    for name, cluster in clusters.items():
        if isinstance(cluster, dict):
            yield from _not_on_msk(name, cluster)
    yield from _killed_while_stopping(table(given, "gateway"))
    if "gateway" in given and "certificate" not in aws:
        yield ("aws",), "certificate is missing: the gateway is reached by TLS only"
    if "endpoint" in table(given, "standby"):
        yield ("standby", "endpoint"), "means nothing with [aws], whose table is in AWS itself; leave it out"
    if "file" in table(table(given, "ledger"), "password"):
        reason = "with [aws] the ledger's password comes from Secrets Manager by the environment; leave it out"
        yield ("ledger", "password"), reason


def _killed_while_stopping(gateway: dict[str, Any]) -> Iterator[Mistake]:
    times = ("drain", "body_timeout", "answer_within")
    needed = sum(numbers(GatewayConfig, gateway, *times)) + CLOSING
    if needed > LONGEST_STOP:
        reason = (
            f"{' + '.join(times)} may be {LONGEST_STOP - CLOSING:g} s with [aws]: a stop takes {CLOSING:g} s more, and "
            f"Fargate kills what has not stopped after {LONGEST_STOP:g}"
        )
        yield ("gateway",), reason


def _of_zones(aws: dict[str, Any], standby: dict[str, Any]) -> Iterator[Mistake]:
    region = standby.get("region", StandbyConfig.model_fields["region"].default)
    zones = aws.get("zones")
    if not isinstance(zones, list):
        return
    if elsewhere := [zone for zone in zones if isinstance(zone, str) and zone[:-1] != region]:
        yield ("aws", "zones"), f"{', '.join(elsewhere)}: not in {region}, the region of the standby table"
    if len({str(zone) for zone in zones}) < len(zones):
        yield ("aws", "zones"), "has a zone twice"


def _of_brokers(name: str, made: dict[str, Any], aws: dict[str, Any]) -> Iterator[Mistake]:
    brokers, zones = made.get("brokers"), aws.get("zones")
    if isinstance(brokers, int) and isinstance(zones, list) and zones and brokers % len(zones):
        yield ("aws", "clusters", name, "brokers"), f"must be a multiple of the {len(zones)} zones"


def _not_on_msk(name: str, cluster: dict[str, Any]) -> Iterator[Mistake]:
    at = ("clusters", name)
    if cluster.get("sasl_mechanism") != msk_iam.MECHANISM:
        reason = f'with [aws] each cluster is one of Amazon MSK; write sasl_mechanism = "{msk_iam.MECHANISM}"'
        yield (*at, "sasl_mechanism") if "sasl_mechanism" in cluster else at, reason
    fleet = cluster.get("fleet")
    if isinstance(fleet, dict) and fleet.get("kind") == "command":
        yield (*at, "fleet"), "with [aws] it is Amazon MSK that adds brokers; leave the fleet out, or write its ARN"
    if "_" in name:
        yield at, "has an underscore, which Amazon MSK takes in no name; write a dash"
