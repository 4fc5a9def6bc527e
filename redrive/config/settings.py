"""`Config`: all settings, and what the rest of Redrive asks of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr
from pydantic_settings import BaseSettings, SettingsConfigDict

from redrive.config import msk_iam
from redrive.config.aws import AwsConfig
from redrive.config.gateway import GatewayConfig
from redrive.config.jobs import (
    BackfillsConfig,
    CorrectionsConfig,
    JobsConfig,
    NotificationsConfig,
    RebalancingConfig,
    ScalingConfig,
)
from redrive.config.mistakes import names
from redrive.config.reading import PREFIX, find_file, read
from redrive.config.sections import (
    ClusterConfig,
    DomainConfig,
    LedgerConfig,
    Name,
    RegistryConfig,
    StandbyConfig,
    TopicConfig,
    TopicName,
    secrets_of,
)
from redrive.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with all that is known of it.

    Defaults are filled in, paths absolute, Kafka's settings as Kafka writes them.

    Attributes:
        cluster: the one it is on; if it is on several, the one that events are published to, unless another was asked
            for.
        clusters: all that it is on, that of the active region first.
    """

    name: str
    domain: str
    cluster: str
    partitions: int
    replication: int
    lanes: int
    schema: Path | None = None
    config: dict[str, str] = field(default_factory=dict)
    dead_letters: bool = False
    clusters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kafka cluster by name."""

    name: str
    config: ClusterConfig
    folder: Path

    def client_config(self) -> dict[str, Any]:
        """Give what a confluent-kafka client needs to connect. It holds secrets: don't print it.

        Raises:
            ConfigError: a secret is not where the settings say.
        """
        given, setting = self.config, f"clusters.{self.name}"
        client: dict[str, Any] = {
            "bootstrap.servers": given.bootstrap,
            "security.protocol": given.security_protocol,
        }
        if given.username is not None and given.password is not None:
            client["sasl.mechanism"] = given.sasl_mechanism
            client["sasl.username"] = given.username
            client["sasl.password"] = given.password.read(f"{setting}.password", self.folder)
        if given.sasl_mechanism == msk_iam.MECHANISM:
            client |= msk_iam.client_config(given.bootstrap)
        if given.ca_file is not None:
            client["ssl.ca.location"] = str(self.folder / given.ca_file)
        if given.certificate_file is not None and given.key_file is not None:
            client["ssl.certificate.location"] = str(self.folder / given.certificate_file)
            client["ssl.key.location"] = str(self.folder / given.key_file)
        if given.key_password is not None:
            client["ssl.key.password"] = given.key_password.read(f"{setting}.key_password", self.folder)
        return client


class Config(BaseSettings):
    """All settings. Made by `Config.load`, which refuses a file with a mistake in it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    standby: StandbyConfig = Field(default_factory=StandbyConfig)
    registry: RegistryConfig
    ledger: LedgerConfig = Field(default_factory=LedgerConfig)
    corrections: CorrectionsConfig = Field(default_factory=CorrectionsConfig)
    backfills: BackfillsConfig = Field(default_factory=BackfillsConfig)
    jobs: JobsConfig = Field(default_factory=JobsConfig)
    rebalancing: RebalancingConfig = Field(default_factory=RebalancingConfig)
    scaling: ScalingConfig = Field(default_factory=ScalingConfig)
    gateway: GatewayConfig | None = None
    notifications: NotificationsConfig = Field(default_factory=NotificationsConfig)
    aws: AwsConfig | None = None
    clusters: dict[Name, ClusterConfig]
    domains: dict[Name, DomainConfig]
    topics: dict[TopicName, TopicConfig]

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @classmethod
    def load(cls, path: str | Path | None = None) -> Config:
        """Read the file at ``path``, else at ``$REDRIVE_CONFIG``, else ``./redrive.toml``.

        Raises:
            ConfigError: the first mistake, with its file and line; `Config.check` gives all.
        """
        file = find_file(path)
        config, mistakes = read(cls, file)
        if config is None or mistakes:
            raise mistakes[0]
        config._folder = file.parent
        return config

    @classmethod
    def check(cls, path: str | Path | None = None) -> list[ConfigError]:
        """Give every mistake in the settings, in the order of their lines."""
        try:
            _, mistakes = read(cls, find_file(path))
        except ConfigError as error:
            return [error]
        return mistakes

    def absent_secrets(self) -> list[ConfigError]:
        """Give each secret that this process does not find where the settings say.

        No mistake in them: where clusters are used, there may be what is not here.
        """
        absent = []
        for path, secret in secrets_of(self):
            try:
                secret.read(".".join(path), self.folder)
            except ConfigError as error:
                absent.append(error)
        return absent

    @property
    def folder(self) -> Path:
        """The folder of the file; what paths in it are relative to."""
        return self._folder

    def rule_file(self, name: str) -> Path:
        """Find a file of rules, which is named relative to the folder of the settings.

        Raises:
            ConfigError: it is elsewhere.
        """
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ConfigError("rules", f"{name} is outside of {self.folder}, the folder of the settings; put it there")
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

    def topic(self, name: str) -> Topic:
        """Give the topic called ``name``.

        Raises:
            ConfigError: there is none; names those there are.
        """
        given = self.topics.get(name)
        if given is None:
            reason = f"there is no such topic; there are {names(self.topics)}; correct the name, or add it"
            raise ConfigError(f"topics.{name}", reason)
        clusters = self.domains[given.domain].clusters
        return Topic(
            name=name,
            domain=given.domain,
            cluster=clusters[0],
            clusters=clusters,
            partitions=given.partitions,
            replication=given.replication,
            lanes=given.lanes or given.partitions,
            schema=self.folder / given.schema_file if given.schema_file else None,
            dead_letters=name.startswith("dlq.") if given.dead_letters is None else given.dead_letters,
            config={key: _as_kafka_writes(value) for key, value in given.config.items()},
        )

    def cluster(self, name: str) -> Cluster:
        """Give the cluster called ``name``.

        Raises:
            ConfigError: there is none; names those there are.
        """
        if name not in self.clusters:
            reason = f"there is no such cluster; there are {names(self.clusters)}"
            raise ConfigError(f"clusters.{name}", reason)
        return Cluster(name, self.clusters[name], self.folder)

    def only_cluster(self, name: str | None) -> str:
        """Give the name of a cluster: ``name``, or without one, that of the only cluster there is.

        Raises:
            ConfigError: there is no such cluster, or there are several; names them.
        """
        if name is None and len(self.clusters) != 1:
            raise ConfigError("cluster", f"say which; there are {names(self.clusters)}")
        return self.cluster(name or next(iter(self.clusters))).name

    def cluster_of(self, topic: str) -> Cluster:
        """Give the cluster that events of ``topic`` are published to, by its domain.

        Raises:
            ConfigError: there is no such topic; names those there are.
        """
        return self.cluster(self.topic(topic).cluster)

    def topics_of(self, cluster: str) -> list[Topic]:
        """Give the topics that live on ``cluster``, sorted by name; also those that it only stands by for."""
        topics = (self.topic(name) for name in sorted(self.topics))
        return [replace(topic, cluster=cluster) for topic in topics if cluster in topic.clusters]

    def is_active(self, cluster: str) -> bool:
        """Say whether events of any domain are published to ``cluster``, or it has none; else it stands by."""
        of = [domain.clusters for domain in self.domains.values() if cluster in domain.clusters]
        return not of or any(clusters[0] == cluster for clusters in of)

    def door(self) -> GatewayConfig:
        """Give the gateway's settings.

        Raises:
            ConfigError: there are none.
        """
        if self.gateway is None:
            raise ConfigError("gateway", "is missing; say there which partners may publish which event types")
        return self.gateway

    def registry_client_config(self) -> dict[str, Any]:
        """Give what confluent-kafka's ``SchemaRegistryClient`` needs. It may hold a secret: don't print it.

        Raises:
            ConfigError: the password is not where the settings say.
        """
        registry = self.registry
        client: dict[str, Any] = {"url": registry.url}
        if registry.username is not None and registry.password is not None:
            password = registry.password.read("registry.password", self.folder)
            client["basic.auth.user.info"] = f"{registry.username}:{password}"
        if registry.ca_file is not None:
            client["ssl.ca.location"] = str(self.folder / registry.ca_file)
        return client

    def ledger_url(self) -> URL:
        """Give the URL of the ledger's database, with its password; the path of a file is absolute.

        Raises:
            ConfigError: the password is not where the settings say.
        """
        from sqlalchemy.engine import make_url  # slow to import, and most programs have no ledger

        url = make_url(self.ledger.url)
        if url.get_backend_name() == "sqlite":
            in_file = url.database not in {None, "", ":memory:"}
            return url.set(database=str(self.folder / str(url.database))) if in_file else url
        if self.ledger.password is not None:
            url = url.set(password=self.ledger.password.read("ledger.password", self.folder))
        return url


def _as_kafka_writes(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
