"""The sections of the settings file that say what there is, field by field, as pydantic models."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from redrive.config import msk_iam
from redrive.errors import ConfigError


def _topic_name(name: str) -> str:
    # The rule is Kafka's own: org.apache.kafka.common.internals.Topic.
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name) or name in {".", ".."}:
        raise ValueError("is not a topic name that Kafka takes: 1 to 249 letters, digits, dots, underscores and dashes")
    return name


def _no_password(url: str) -> str:
    # The value is not repeated in the message: it may hold a real password.
    # What is between the first colon and the last @ is one, also with a slash in it: SQLAlchemy takes it so.
    if re.match(r"[^/]*://[^:/@]*:[^@]*@", url) or re.search(r"[?&]\w*password=", url, re.IGNORECASE):
        way_out = 'take it out, and write password = {env = "NAME"} or {file = "path"}'
        raise ValueError(f"holds a password; {way_out}")
    return url


def _database(url: str) -> str:
    if not re.match(r"sqlite:///|postgresql(\+psycopg)?://", url):
        raise ValueError("must be sqlite:///path or postgresql://user@host/name")
    return url


def _by_reference(value: Any) -> Any:
    if isinstance(value, str | int | float):
        raise ValueError('is the secret itself; write {env = "NAME"} or {file = "path"} instead')  # noqa: TRY004
    return value


def _with_number(command: list[str]) -> list[str]:
    if not any("{brokers}" in word for word in command):
        raise ValueError("must have {brokers} in it: how many there are to be in all; so asking twice adds no more")
    return command


# Lower case, because the names of environment variables are matched without regard to case.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
TopicName = Annotated[str, AfterValidator(_topic_name)]
Url = Annotated[str, AfterValidator(_no_password)]
Bootstrap = Annotated[str, StringConstraints(pattern=r"^[^\s,]+:\d+(,\s*[^\s,]+:\d+)*$")]


class Section(BaseModel):
    """A table of the file: what it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secret(Section):
    """Where a secret is: in an environment variable, or in a file (without the line break at its end)."""

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError('needs exactly one of env and file, such as {env = "NAME"}')
        return self

    def read(self, setting: str, folder: Path) -> str:
        """Return the secret itself.

        Raises:
            ConfigError: naming ``setting``: the variable is not set, or the file can't be read.
        """
        if self.env is not None:
            if self.env not in os.environ:
                raise ConfigError(setting, f"the environment variable {self.env} is not set")
            return os.environ[self.env]
        path = folder / str(self.file)
        try:
            return path.read_text().removesuffix("\n")
        except OSError as error:
            raise ConfigError(setting, f"can't read the secret from {path}: {error.strerror}") from error


SecretReference = Annotated[Secret, BeforeValidator(_by_reference)]


def secrets_of(settings: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Secret]]:
    """Find the secrets in settings, or a part of them: each with its path."""
    if isinstance(settings, Secret):
        yield path, settings
    elif isinstance(settings, BaseModel | dict):
        for name, value in settings.items() if isinstance(settings, dict) else settings:
            yield from secrets_of(value, (*path, str(name)))


class StandbyConfig(Section):
    """The standby store's DynamoDB table.

    Attributes:
        table: its name.
        region: AWS's region.
        endpoint: where DynamoDB is, if not in AWS.
        gate_refresh: seconds for which a producer may rely on what it knows about diverted lanes. All
            producers of a table must agree on it, or a newer event may overtake an older one in an outage.
        divert_after: seconds that Kafka has to confirm an event before its producer stores it; the longest that any
            producer of the table may have. A switch of producers waits so long for what is under way, so lower it
            only once no producer runs that was started with more.
    """

    table: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{3,255}$")] = "redrive-standby"
    region: str = "us-east-1"
    endpoint: Url | None = None
    gate_refresh: Annotated[float, Field(gt=0, le=60)] = 1.0
    divert_after: Annotated[float, Field(gt=0, le=600)] = 5.0


class RegistryConfig(Section):
    """The schema registry, any that speaks Confluent's API.

    Attributes:
        url: where it is, with the path of that API.
        username: for basic authentication.
        password: likewise.
        ca_file: certificates of whom its own is signed by, if not known to the machine.
    """

    url: Url
    username: str | None = None
    password: SecretReference | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password come together")
        return self


class LedgerConfig(Section):
    """The ledger's database.

    Attributes:
        url: SQLite (``sqlite:///path``, relative to the settings' file) or PostgreSQL (``postgresql://user@host/name``).
        password: of PostgreSQL.
    """

    url: Annotated[Url, AfterValidator(_database)] = "sqlite:///.redrive/ledger.db"
    password: SecretReference | None = None


class MskFleetConfig(Section):
    """Amazon MSK runs the cluster's brokers.

    Attributes:
        kind: which of the two ways it is.
        arn: the cluster's; AWS's region is in it.
    """

    kind: Literal["msk"]
    arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:kafka:[a-z0-9-]+:\d{12}:cluster/[^/\s]+/[^/\s]+$")]


class CommandFleetConfig(Section):
    """Commands run the cluster's brokers: a program and its arguments; no shell is between.

    Attributes:
        kind: which of the two ways it is.
        load: prints each broker's CPU load now, in percent, as JSON: ``{"1": 42.5, "2": 40.1}``.
        add: sees to it that there are as many brokers as stand in place of ``{brokers}``, and adds nothing when there
            are. It may end before they are there.
        timeout: seconds that ``add`` may take.
    """

    kind: Literal["command"]
    load: Annotated[list[str], Field(min_length=1)]
    add: Annotated[list[str], Field(min_length=1), AfterValidator(_with_number)]
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 1_800.0


FleetConfig = Annotated[MskFleetConfig | CommandFleetConfig, Field(discriminator="kind")]


class ClusterConfig(Section):
    """How a Kafka cluster is reached.

    Attributes:
        bootstrap: some of its brokers, ``host:port``, with commas between.
        security_protocol: Kafka's.
        sasl_mechanism: with ``SASL_…``; ``AWS_MSK_IAM`` takes AWS's own credentials.
        username: for SASL.
        password: likewise.
        ca_file: certificates of whom the brokers' are signed by, if not known to the machine.
        certificate_file: the client's own, for TLS on both sides.
        key_file: its private key.
        key_password: that of the key.
        fleet: what runs its brokers, if `broker-scaling` is to add some.
    """

    bootstrap: Bootstrap
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "AWS_MSK_IAM"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretReference | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretReference | None = None
    fleet: FleetConfig | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        sasl = self.security_protocol.startswith("SASL")
        if self.sasl_mechanism == msk_iam.MECHANISM:
            return self._by_iam()
        if sasl and (self.username is None or self.password is None):
            raise ValueError(f"{self.security_protocol} needs a username and a password")
        if self.username is not None and not sasl:
            raise ValueError(f"a username means nothing with {self.security_protocol}; write SASL_SSL")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file come together")
        return self

    def _by_iam(self) -> Self:
        if self.security_protocol != "SASL_SSL":
            raise ValueError(f"sasl_mechanism {self.sasl_mechanism} needs security_protocol SASL_SSL")
        if self.username is not None or self.password is not None:
            raise ValueError(f"{self.sasl_mechanism} takes AWS's own credentials: leave username and password out")
        if not msk_iam.region_of(self.bootstrap):
            raise ValueError(
                f"{self.sasl_mechanism} needs bootstrap to name brokers as Amazon MSK does, all in one region, such as "
                "b-1.sales.x1y2z3.c2.kafka.eu-west-1.amazonaws.com:9098"
            )
        return self


class DomainConfig(Section):
    """A part of the business whose topics live on one cluster, or on one in each of several regions.

    Attributes:
        cluster: the only one.
        regions: region → cluster, if there are several.
        active: the region that events are published to.
    """

    cluster: Name | None = None
    regions: dict[Name, Name] = Field(default_factory=dict)
    active: Name | None = None

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.cluster is None) == (not self.regions):
            raise ValueError(
                'needs either cluster = "name", or regions = {region = "cluster", …} and active = "region"'
            )
        if not self.regions and self.active is not None:
            raise ValueError("has one cluster; active is for one with regions")
        if self.regions and self.active not in self.regions:
            raise ValueError(f"needs active to be one of its regions: {', '.join(sorted(self.regions))}")
        if len(set(self.regions.values())) < len(self.regions):
            raise ValueError("has one cluster in two regions; give each its own")
        return self

    @property
    def clusters(self) -> tuple[str, ...]:
        """The names of its clusters: first the one that events are published to, then those that stand by."""
        if self.cluster is not None:
            return (self.cluster,)
        others = sorted(name for region, name in self.regions.items() if region != self.active)
        return (self.regions[str(self.active)], *others)


class TopicConfig(Section):
    """A topic as it should be.

    Attributes:
        domain: by its name in the settings; says on which cluster it is.
        partitions: how many there are to be.
        replication: replicas of each.
        lanes: units of order, diversion and parallel replay in an outage; as many as partitions if not given.
        schema_file: path of the ``.avsc`` that its values must fit (``schema`` in the file).
        dead_letters: it holds dead letters, of whichever system. Topics called ``dlq.…`` do without saying so.
        config: Kafka's own topic settings, such as ``{"retention.ms" = 86400000}``.
    """

    domain: Name
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 6
    replication: Annotated[int, Field(ge=1, le=15)] = 3
    lanes: Annotated[int, Field(ge=1, le=1_000)] | None = None
    schema_file: Path | None = Field(None, alias="schema")
    dead_letters: bool | None = None
    config: dict[str, str | int | float | bool] = Field(default_factory=dict)
