"""Bringing a topic to another schema: ours, with its comparison apart, beside the exactly-once loop one would write."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.measure import Row, compare
from bench.platform import SCHEMA
from deployments.demo.flights import PRODUCER, flights
from redrive import envelope, wire
from redrive.config import Config
from redrive.migrations import shadow
from redrive.migrations.batches import transform
from redrive.migrations.comparing import verify_partition
from redrive.migrations.copying import UnitResult, copy
from redrive.migrations.migration import Migration, prepare
from redrive.migrations.survey import Standing, survey
from redrive.migrations.verifying import Compacts
from redrive.pump.readback import end_offsets
from redrive.pump.workers import Workers
from redrive.schemas import SchemaRegistry
from redrive.topics import apply_topics

EVENTS = 2_000_000
PARTITIONS = 3
COMMIT_EVERY = 10_000
SETTINGS = """
[standby]
table = "{name}"
[registry]
url = "http://unused"
[ledger]
url = "sqlite:///{name}.db"
[clusters.local]
bootstrap = "unused:1"
[domains.flights]
cluster = "local"
"""
TOPIC = """
[topics."{topic}"]
domain = "flights"
partitions = {partitions}
replication = 3
schema = "{schema}"
"""


def rows(folder: Path) -> list[Row]:
    """Return the rows about backfills."""
    bench = Bench(folder)
    bench.fill()
    what = "beside a consume, fastavro, produce, commit loop"
    return [
        compare(f"backfill, {what} (events/s)", bench.ours, bench.loop, at_least=6),
        compare(
            f"backfill with each event compared at the end, {what} (events/s)",
            lambda: bench.ours(compared=True), bench.loop, at_least=2, runs=1,
        ),
    ]  # fmt: skip


class Bench:
    """A topic of flights, and, for each measurement, another one to fill.

    Args:
        folder: for its settings.
        events: how many it has.
        name: of one that is there already.
    """

    def __init__(self, folder: Path, events: int = EVENTS, name: str = "") -> None:
        self.name = name or f"bench-{uuid.uuid4().hex[:8]}"
        self.events = events
        self.schema = folder / f"{self.name}.avsc"
        self.settings = folder / f"{self.name}.toml"
        if not name:
            folder.mkdir(parents=True, exist_ok=True)
            self.schema.write_text(json.dumps(next_version(json.loads(SCHEMA.read_text()))))
            self.settings.write_text(SETTINGS.format(name=self.name))
            self._add(self.name, SCHEMA.absolute())
        self.targets = 0

    def fill(self) -> None:
        """Write flights, evenly over the partitions, as the SDK does; the year's again if there are to be more."""
        encode = SchemaRegistry(self.config.registry_client_config()).writer(self.name).encode
        departed = ((plane, flight) for _, plane, flight in flights() if flight["dep_time"] is not None)
        year = [((plane or "").encode(), encode(flight)) for plane, flight in islice(departed, self.events)]
        producer = Producer({**self.client, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})
        now = time_ns() // 1_000_000 - 3_600_000
        for number, (key, value) in enumerate(islice(cycle(year), self.events)):
            headers = envelope.headers(str(uuid.UUID(int=number)), source=PRODUCER, type=self.name, time_ms=now)
            at = now + number // 50
            producer.produce(self.name, value, key, number % PARTITIONS, headers=[*headers], timestamp=at)
            while len(producer) > 500_000:
                producer.poll(0.1)
            producer.poll(0)
        producer.flush()

    def ours(self, *, compared: bool = False, at_the_end: Callable[[], None] = lambda: None) -> float:
        """Return events a second of the job's own steps.

        Args:
            compared: the target is compared with the source, too.
            at_the_end: called while the processes are still there.
        """
        migration, standings = self._prepared()
        operation = str(uuid.uuid4())
        started = perf_counter()
        with Workers(self.config.jobs.worker_processes()) as workers, ThreadPoolExecutor(PARTITIONS) as threads:
            change = transform(workers, migration.spec)

            def at(standing: Standing) -> UnitResult:
                return copy(
                    self.client, standing.unit, change, migration=migration.digest, operation=operation,
                    first=standing.first, until=lambda: standing.end, total=standing.left,
                )  # fmt: skip

            results = list(threads.map(at, standings))
            if compared:
                check = partial(
                    verify_partition, workers, self.client, migration.spec, parked=frozenset(), compacts=Compacts()
                )
                for checked in threads.map(lambda result: check(result.unit, result.next), results):
                    assert not checked.findings, checked.findings
            at_the_end()
        seconds = perf_counter() - started
        published = sum(result.outcome.published for result in results)
        assert published == self.events, published
        return self.events / seconds

    def loop(self) -> float:
        """Return events a second of the plain loop: exactly once, without provenance, checks or parking."""
        migration, _ = self._prepared()
        registry = SchemaRegistry(self.config.registry_client_config())
        old = registry.writer(self.name)
        before, after = json.loads(SCHEMA.read_text()), json.loads(self.schema.read_text())
        before, after = fastavro.parse_schema(before), fastavro.parse_schema(after)
        prefix = wire.prefix(migration.recipe.target)
        assert old.schema_id != migration.recipe.target
        started = perf_counter()
        consumer = Consumer(
            {
                **self.client,
                "group.id": migration.target,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        consumer.assign([TopicPartition(self.name, number, 0) for number in range(PARTITIONS)])
        producer = Producer(
            {**self.client, "transactional.id": migration.target, "compression.type": "lz4", "linger.ms": 20}
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        count = 0
        while count < self.events:
            for message in consumer.consume(1_000, 0.5):
                assert message.error() is None, message.error()
                frame = message.value() or b""
                value = fastavro.schemaless_reader(io.BytesIO(frame[wire.HEADER_SIZE :]), before, after)
                body = io.BytesIO()
                body.write(prefix)
                fastavro.schemaless_writer(body, after, value)
                producer.produce(
                    migration.target, body.getvalue(), message.key(), message.partition() or 0,
                    headers=message.headers(), timestamp=message.timestamp()[1],
                )  # fmt: skip
                producer.poll(0)
                count += 1
                if count % COMMIT_EVERY == 0 or count == self.events:
                    positions = consumer.position(consumer.assignment())
                    producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
                    producer.commit_transaction(30)
                    producer.begin_transaction()
        producer.abort_transaction(30)
        consumer.close()
        seconds = perf_counter() - started
        found = sum(end_offsets(self.client, migration.target))
        assert found >= self.events, found
        return self.events / seconds

    def _prepared(self) -> tuple[Migration, list[Standing]]:
        """Make a new target ready."""
        self.targets += 1
        target = f"{self.name}.v{self.targets}"
        self._add(target, self.schema.absolute())
        shadow.create(self.config, shadow.look(self.config, self.name, target))
        migration = prepare(self.config, self.name, target, rules=None, register=True)
        return migration, survey(self.client, "local", self.name, target, migration.digest)

    def _add(self, topic: str, schema: Path) -> None:
        with self.settings.open("a") as file:
            file.write(TOPIC.format(topic=topic, schema=schema, partitions=PARTITIONS))
        self.config = Config.load(self.settings)
        self.client = self.config.cluster("local").client_config()
        apply_topics(self.config)


def next_version(schema: dict[str, Any]) -> dict[str, Any]:
    """Rename, promote and add fields, as Avro resolves by itself."""
    changes = {
        "dest": {"name": "destination", "aliases": ["dest"]},
        "distance": {"type": "double"},
        "dep_delay": {"type": "double"},
    }
    fields = [field | changes.get(field["name"], {}) for field in schema["fields"]]
    return schema | {"fields": [*fields, {"name": "terminal", "type": ["null", "string"], "default": None}]}
