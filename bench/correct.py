"""Correcting dead letters: ours, so many partitions at once as the job has, beside the loop that a user would write."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.measure import Row, compare
from bench.platform import SCHEMA
from deployments.demo.flights import PRODUCER, TOPIC, flights
from redrive import envelope, wire
from redrive.aliases.alias import read_aliases
from redrive.avro.codec import Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import parse
from redrive.config import Config
from redrive.deadletters.correction import JudgeElsewhere, OrderGuard, Unit, correct
from redrive.deadletters.correction.settling import checkpoints
from redrive.deadletters.judging.finding import find_targets
from redrive.deadletters.letter import letter_of_value
from redrive.events import Event
from redrive.pump.readback import end_offsets
from redrive.pump.workers import Workers
from redrive.rules import load_rules
from redrive.schemas import SchemaRegistry
from redrive.topics import apply_topics

LETTERS = 300_000  # a pile: what starting processes and clients takes is a small part of it
PARTITIONS = 3
FLUSH_EVERY = 500
RULES = Path(__file__).parents[1] / "rules" / "cancelled_flights.yaml"
SETTINGS = f"""
[standby]
table = "{{name}}"
[registry]
url = "http://unused"
[ledger]
url = "sqlite:///{{name}}.db"
[clusters.local]
bootstrap = "unused:1"
[domains.flights]
cluster = "local"
[topics."{TOPIC}"]
domain = "flights"
partitions = 6
replication = 3
schema = "{SCHEMA.absolute()}"
[topics."dlq.{{name}}"]
domain = "flights"
partitions = {PARTITIONS}
replication = 3
"""


def rows(folder: Path) -> list[Row]:
    """Return the row about correction."""
    clinic = Clinic(folder)
    clinic.fill(LETTERS)
    return [
        compare(
            "correcting dead letters, strict and exactly once, beside a fastavro.validate + produce() loop (letters/s)",
            lambda: correction(clinic),
            lambda: loop(clinic),
            at_least=3,
        )
    ]


class Clinic:
    """A dead-letter topic of three partitions, and the main topic of its letters.

    Args:
        folder: for its settings.
        name: of one that is there already.
    """

    def __init__(self, folder: Path, name: str = "") -> None:
        self.name = name or f"bench-{uuid.uuid4().hex[:8]}"
        self.dead_letters = f"dlq.{self.name}"
        settings = folder / f"{self.name}.toml"
        if not name:
            folder.mkdir(parents=True, exist_ok=True)
            settings.write_text(SETTINGS.format(name=self.name))
        self.config = Config.load(settings)
        self.client = self.config.cluster("local").client_config()
        if not name:
            apply_topics(self.config)

    def fill(self, count: int) -> None:
        """Write letters, evenly over the partitions."""
        producer = Producer({**self.client, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})
        for number, letter in enumerate(letters(self.dead_letters, count)):
            producer.produce(
                letter.topic, letter.value, letter.key, number % PARTITIONS,
                headers=[*letter.headers], timestamp=letter.timestamp,
            )  # fmt: skip
            producer.poll(0)
        producer.flush()

    def units(self) -> list[Unit]:
        """Give all letters, as units of work."""
        units = [Unit("local", self.dead_letters, number) for number in range(PARTITIONS)]
        for unit, end in zip(units, end_offsets(self.client, self.dead_letters), strict=True):
            unit.offsets.extend(range(end))
        return units


def letters(topic: str, count: int) -> Iterator[Event]:
    """Make letters as the SDK writes them: of the flights that were cancelled, again and again under other keys."""
    encode = Encoder(parse(SCHEMA.read_text())).encode
    cancelled = [(plane, event) for _, plane, event in flights() if event["dep_time"] is None]
    start = time_ns() // 1_000_000 - 3_600_000
    for number in range(count):
        again, at = divmod(number, len(cancelled))
        plane, event = cancelled[at]
        try:
            encode(event)
        except Misfit as misfit:
            identity = f"{uuid.UUID(int=again)}-{at}"
            now = start + number // 50
            yield letter_of_value(
                topic,
                event_id=identity,
                key=f"{plane}-{again}".encode() if plane else None,
                value=event,
                headers=envelope.headers(identity, source=PRODUCER, type=TOPIC, time_ms=now),
                topic=TOPIC,
                reason="invalid-value",
                detail=misfit.reason,
                producer=PRODUCER,
                timestamp=now,
                field=misfit.field,
                schema_id=1,
            )


def correction(clinic: Clinic, at_the_end: Callable[[], None] = lambda: None) -> float:
    """Return letters a second of a correction: judged by the rules, checked strictly, published exactly once.

    Args:
        clinic: has the letters.
        at_the_end: called while the processes are still there.
    """
    config, units = clinic.config, clinic.units()
    registry = SchemaRegistry(config.registry_client_config())
    targets = find_targets(config, registry, "local", [TOPIC], read_aliases(clinic.client))
    saved = checkpoints(clinic.client, units)
    operation = str(uuid.uuid4())

    def work_at(unit: Unit) -> int:
        result = correct(
            config, unit, judge, OrderGuard({}), "publish",
            operation=operation, targets=targets, seen=saved.get(unit.name), record_fates=lambda _: None,
        )  # fmt: skip
        return result.outcome.published

    started = perf_counter()
    with Workers(config.jobs.worker_processes()) as workers, ThreadPoolExecutor(PARTITIONS) as threads:
        judge = JudgeElsewhere(workers, load_rules(RULES), targets, config.registry_client_config(), attempts=3)
        published = sum(threads.map(work_at, units))
        at_the_end()
    seconds = perf_counter() - started
    assert published == sum(len(unit.offsets) for unit in units), published
    return published / seconds


def loop(clinic: Clinic) -> float:
    """Return letters a second of the plain loop: at least once, no provenance, laxer in its checks."""
    schema = fastavro.parse_schema(json.loads(SCHEMA.read_text()))
    prefix = wire.prefix(SchemaRegistry(clinic.config.registry_client_config()).writer(TOPIC).schema_id)
    letters = sum(end_offsets(clinic.client, clinic.dead_letters))
    acknowledged = count = 0

    def delivered(error: object, _message: object) -> None:
        nonlocal acknowledged
        assert error is None, error
        acknowledged += 1

    started = perf_counter()
    producer = Producer({**clinic.client, "enable.idempotence": True, "compression.type": "lz4"})
    consumer = Consumer({**clinic.client, "group.id": clinic.dead_letters, "enable.auto.commit": False})
    consumer.assign([TopicPartition(clinic.dead_letters, number, 0) for number in range(PARTITIONS)])
    while count < letters:
        message = consumer.poll(1)
        if message is None:
            continue
        assert message.error() is None, message.error()
        flight = json.loads(message.value() or b"")  # letters of flights have none of the tags
        if all(flight[field] is None for field in ("dep_time", "dep_delay", "arr_time", "air_time")):
            flight["dep_time"], flight["dep_delay"] = -1, 0
            if flight["tailnum"] is None:
                flight["tailnum"] = ""
        fastavro.validate(flight, schema)
        body = io.BytesIO()
        body.write(prefix)
        fastavro.schemaless_writer(body, schema, flight)
        pairs: Any = message.headers()
        headers = [(name, value) for name, value in pairs if not name.startswith("redrive-")]
        producer.produce(
            TOPIC, body.getvalue(), message.key(),
            headers=headers, timestamp=message.timestamp()[1], on_delivery=delivered,
        )  # fmt: skip
        count += 1
        if count % FLUSH_EVERY == 0 or count == letters:
            producer.flush()
            consumer.commit(asynchronous=False)
    consumer.close()
    seconds = perf_counter() - started
    assert acknowledged == letters, acknowledged
    return count / seconds
