"""A platform to measure on: the local stack, a topic and a table for each benchmark, and events like real ones."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic

from redrive.config import Config
from redrive.standby.batches import BATCH_EVENTS, Stored
from redrive.standby.drain import open_store
from redrive.standby.dynamo import DynamoStore
from redrive.standby.lanes import Gate, Lane, Topics
from redrive.standby.writer import LaneWriter, SystemClock

LANES = 6
SETTINGS = """
[standby]
table = "{table}"
[registry]
url = "http://unused"
[clusters.local]
bootstrap = "unused:1"
[domains.bench]
cluster = "local"
[topics."{topic}"]
domain = "bench"
partitions = {lanes}
schema = "{schema}"
[topics."dlq.bench"]
domain = "bench"
partitions = 1
"""
SCHEMA = Path(__file__).parents[1] / "schemas" / "flight_departed.avsc"


class Bench:
    """One benchmark's topic, table and settings."""

    def __init__(self, folder: Path) -> None:
        name = uuid.uuid4().hex[:8]
        self.topic = f"bench.{name}"
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = folder / f"{name}.toml"
        self.settings.write_text(
            SETTINGS.format(table=f"bench-{name}", topic=self.topic, lanes=LANES, schema=SCHEMA.absolute())
        )
        self.config = Config.load(self.settings)
        self.client: dict[str, Any] = self.config.cluster("local").client_config()
        admin = AdminClient(self.client)
        for future in admin.create_topics([NewTopic(self.topic, LANES, 3)]).values():
            future.result()
        self.store: DynamoStore = open_store(self.config)
        self.store.create()
        self.lanes = [Lane("local", self.topic, number) for number in range(LANES)]

    def fill(self, events: int) -> None:
        """Divert every lane and store this many events, as a producer would through an outage."""
        Topics(self.store, "local").lanes(self.topic, LANES)
        for lane in self.lanes:
            writer = LaneWriter(
                self.store, lane, f"bench-{uuid.uuid4().hex[:8]}", clock=SystemClock(), grace=0, seal_wait=5
            )
            writer.enter(must_divert=True)
            stored = stored_events(events // LANES, seed=lane.number)
            batch: list[Stored] = []
            for event in stored:
                batch.append(event)
                if len(batch) == BATCH_EVENTS:
                    writer.store(batch)
                    batch = []
            if batch:
                writer.store(batch)
        Gate(self.store, "local").bump()


def stored_events(count: int, seed: int) -> Iterator[Stored]:
    """Yield events of about 200 bytes with the SDK's headers: hard to compress, as hashes and ids in real ones are."""
    rnd = random.Random(seed)
    clock = SystemClock().now_ms() - 60_000
    values = [b"\x00\x00\x00\x00\x01" + rnd.randbytes(60).hex().encode() + rnd.randbytes(75) for _ in range(1_000)]
    keys = [b"N%05d" % rnd.randrange(4_000) for _ in range(1_000)]
    for number in range(count):
        identity = f"{seed:02d}-{number:012d}"
        headers: list[tuple[str, bytes | None]] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", identity.encode()),
            ("ce_source", b"bench"),
            ("ce_type", b"bench.event"),
            ("ce_time", b"2026-01-01T00:00:00.000Z"),
        ]
        yield Stored(identity, keys[number % 1_000], values[number % 1_000], headers, clock + number // 100)
