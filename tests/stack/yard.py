"""A cluster of which one topic alone may be moved, and the job `partition-rebalance` there."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.follow import artifacts_of
from deployments.local.stack import Stack
from flows.partition_rebalance import Rebalance, partition_rebalance
from redrive.config import Config
from redrive.ledger import Ledger, OperationRow
from redrive.partitions.state import Resource
from redrive.partitions.throttle_settings import RATES
from redrive.partitions.writer import PartitionWriter
from tasks.partition_rebalance.report import NOT_EMPTY, NOT_WITHOUT_VOTE
from tests.stack.backlog import word
from tests.stack.environment import forget_settings

MB = 1_000_000


class Yard:
    """A cluster of which one topic alone may be moved: all others are to be left alone.

    Args:
        brokers: the stack whose brokers these are; no other test makes topics there meanwhile.
        prefect: the stack whose server of Prefect is used.
        folder: for settings and ledger.
    """

    def __init__(self, brokers: Stack, prefect: Stack, folder: Path) -> None:
        self.bootstrap = brokers.endpoints.bootstrap
        self.prefect = prefect.environment()["PREFECT_API_URL"]
        self.folder = folder
        self.topic = f"yard-{uuid.uuid4().hex[:8]}"
        self.kafka = AdminClient({"bootstrap.servers": self.bootstrap})
        self.file = folder / "redrive.toml"
        self.settings('approval = "none"')

    def settings(self, rebalancing: str) -> None:
        self.file.write_text(f"""\
[registry]
url = "http://unused"
[ledger]
url = "sqlite:///ledger.db"
[rebalancing]
{rebalancing}
[clusters.local]
bootstrap = "{self.bootstrap}"
[domains.yard]
cluster = "local"
[topics."{self.topic}"]
domain = "yard"
""")

    def create(self, replicas: list[list[int]], size: int = 0, sizes: Sequence[int] | None = None) -> None:
        """Make the topic, with so many bytes in each partition, or as many as ``sizes`` says."""
        topic = NewTopic(self.topic, len(replicas), replica_assignment=replicas)
        self.kafka.create_topics([topic])[self.topic].result()
        while len(self.replicas()) < len(replicas):
            time.sleep(0.1)
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all"})
        for partition in range(len(replicas)):
            for _ in range((size if sizes is None else sizes[partition]) // 50_000):
                producer.produce(self.topic, os.urandom(50_000), partition=partition)
        assert producer.flush(60) == 0

    def replicas(self) -> list[list[int]]:
        """As another client sees them."""
        topic = self.kafka.list_topics(timeout=10).topics.get(self.topic)
        return [each.replicas for _, each in sorted(topic.partitions.items())] if topic else []

    def run(self, goal: str = "drain_brokers", mode: str = "run", **more: Any) -> State[Any]:
        return partition_rebalance(Rebalance.model_validate(self.parameters(goal, mode, **more)), return_state=True)

    def did(self, state: State[Any]) -> str:
        """Say in a word how a run ended, whatever Kafka's own topics leave on the drained broker, which is a voter."""
        evidence, message = self.operation().evidence or {}, str(state.message)
        held = evidence.get("still_held", {}).get("3", [])
        mine = [each for each in held if each.startswith(self.topic)]
        excused = [*([NOT_EMPTY] if held else []), NOT_WITHOUT_VOTE]
        if word(state) == "failed" and not mine and evidence.get("findings") == excused:
            return "nothing to move" if message.startswith("failed: nothing to move") else "proved"
        return word(state)

    def parameters(self, goal: str = "drain_brokers", mode: str = "run", **more: Any) -> dict[str, Any]:
        others = [name for name in self.kafka.list_topics(timeout=10).topics if name != self.topic]
        given = {"mode": mode, "goal": goal, "excluded_topics": others, "throttle": None, "patience": 30.0} | more
        if goal == "drain_brokers":
            given["brokers"] = [3]
        return given

    def writer(self) -> PartitionWriter:
        return PartitionWriter(Config.load(self.file).cluster("local"))

    def rates(self) -> set[str]:
        """The rates that are set on brokers."""
        with self.writer() as writer:
            brokers = [Resource("broker", str(id_)) for id_ in writer.brokers()]
            found = writer.settings(brokers, RATES)
        return {one.own for each in found.values() for one in each.values() if one.own is not None}

    def moving(self) -> bool:
        with self.writer() as writer:
            return any(topic == self.topic for topic, _ in writer.ongoing())

    def operation(self) -> OperationRow:
        with Ledger.open(Config.load(self.file).ledger_url()) as ledger:
            return ledger.operations(1)[0]

    def artifact(self, key: str) -> str:
        with get_client(sync_client=True) as client:
            return str(artifacts_of(client, UUID(self.operation().id))[key].data)


@contextmanager
def opened(brokers: Stack, prefect: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """Open a yard."""
    forget_settings(prefect, monkeypatch)
    yard = Yard(brokers, prefect, folder)
    monkeypatch.setenv("REDRIVE_CONFIG", str(yard.file))
    settings = {PREFECT_API_URL: yard.prefect, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield yard
    yard.kafka.delete_topics([yard.topic])[yard.topic].result()
