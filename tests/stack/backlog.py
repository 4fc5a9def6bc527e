"""A platform with topics of its own, and events that wait in its standby store as producers leave them there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import boto3
from confluent_kafka import Producer
from prefect.client.schemas.objects import State

from deployments.local.stack import Stack
from redrive.aliases.alias import ensure_aliases
from redrive.config import Config
from redrive.murmur2 import partition_of
from redrive.pump.names import ALIASES_TOPIC
from redrive.pump.readback import end_offsets
from redrive.schemas import SchemaRegistry
from redrive.standby.batches import Stored
from redrive.standby.drain import open_store
from redrive.standby.lanes import Lane, LaneLog, Topics
from redrive.standby.writer import Entry, LaneWriter, SystemClock
from redrive.topics import apply_topics
from tests.stack.reading import read_whole

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]}
KEYS = 50


class Backlogs:
    """Topics, a standby table and a ledger that nobody else uses.

    Args:
        stack: the stack that it is on.
        folder: for its settings and its ledger.
        topics: a name each; a suffix makes it unique.
    """

    cluster = "main"

    def __init__(self, stack: Stack, folder: Path, *topics: str, lanes: int = 2) -> None:
        unique = uuid.uuid4().hex[:8]
        self.topics = [f"{topic}-{unique}" for topic in topics]
        self.file = folder / "redrive.toml"
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        endpoints = stack.endpoints
        self.file.write_text(
            f"""\
[standby]
table = "standby-{unique}"
endpoint = "{endpoints.dynamodb}"
[registry]
url = "{endpoints.registry}"
[ledger]
url = "sqlite:///ledger.db"
[clusters.{self.cluster}]
bootstrap = "{endpoints.bootstrap}"
[domains.sales]
cluster = "{self.cluster}"
"""
            + "".join(
                f'[topics."{topic}"]\ndomain = "sales"\npartitions = 3\nlanes = {lanes}\nschema = "order.avsc"\n'
                for topic in self.topics
            )
        )
        self.environment = {
            **{name: "" for name in stack.environment() if name.startswith("REDRIVE_")},  # the file says it all
            "REDRIVE_CONFIG": str(self.file),
        }

    def create(self) -> None:
        """Make the table and the topics."""
        self.config = Config.load(self.file)
        self.store = open_store(self.config)
        self.store.create()
        assert {change.outcome for change in apply_topics(self.config)} <= {"done"}

    def fill(self, topic: str, events: int, *, schema_id: int | None = None) -> list[str]:
        """Store events as producers do when the cluster is away; gives their ids in the order of acceptance."""
        lanes = Topics(self.store, self.cluster).lanes(topic, self.config.topic(topic).lanes)
        encode = SchemaRegistry(self.config.registry_client_config()).writer(topic).encode
        run, clock = uuid.uuid4().hex[:6], SystemClock()
        by_lane: dict[int, list[Stored]] = {}
        for number in range(events):
            key = b"key-%d" % (number % KEYS)
            event_id = f"{run}-{number}"
            value = encode({"id": number})
            if schema_id is not None:
                value = b"\x00" + schema_id.to_bytes(4, "big") + value[5:]
            headers: list[tuple[str, bytes | None]] = [("ce_id", event_id.encode())]
            stored = Stored(event_id, key, value, headers, clock.now_ms())
            by_lane.setdefault(partition_of(key, lanes), []).append(stored)
        for number, stored_events in by_lane.items():
            self.store_in(Lane(self.cluster, topic, number), f"shop-{run}", stored_events)
        return [f"{run}-{number}" for number in range(events)]

    def store_in(self, lane: Lane, producer: str, events: Sequence[Stored]) -> None:
        """Store events in one lane, as a producer of this name."""
        Topics(self.store, lane.cluster).lanes(lane.topic, self.config.topic(lane.topic).lanes)
        writer = LaneWriter(self.store, lane, producer, clock=SystemClock(), grace=0.0, seal_wait=5.0)
        assert writer.enter(must_divert=True) is Entry.STANDBY
        for first in range(0, len(events), 100):
            assert writer.store(events[first : first + 100])

    def write_aliases(self, names: Iterable[str], record: bytes | None) -> None:
        """Write a record about each of these names to the control topic, which the whole stack has; None deletes it."""
        client = self.config.cluster(self.cluster).client_config()
        ensure_aliases(client)
        producer = Producer({**client, "acks": "all"})
        for name in names:
            producer.produce(ALIASES_TOPIC, record, key=name.encode(), partition=0)
        assert producer.flush(30) == 0

    def are_open(self, topic: str) -> bool:
        """Whether producers use Kafka for every lane of a topic."""
        lanes = Topics(self.store, self.cluster).all()[topic]
        return all(LaneLog(self.store, Lane(self.cluster, topic, number)).state().is_main for number in range(lanes))

    def ids_by_key(self, topic: str) -> dict[bytes, list[str]]:
        """Read a topic back, committed, with a consumer of confluent-kafka's own: key → event ids in order."""
        found: dict[bytes, list[str]] = {}
        for message in read_whole(self.config.cluster(self.cluster).client_config(), topic):
            ids = [value for name, value in message.headers() or () if name == "ce_id"]
            found.setdefault(message.key() or b"", []).append(ids[0].decode())  # type: ignore[union-attr]
        return found

    def traces(self) -> tuple[list[Any], dict[str, list[int]]]:
        """Give what a job could have changed: every item of the table, and where every topic ends."""
        client = boto3.client("dynamodb", endpoint_url=self.config.standby.endpoint, region_name="us-east-1")
        items = client.scan(TableName=self.config.standby.table, ConsistentRead=True)["Items"]
        kafka = self.config.cluster(self.cluster).client_config()
        return sorted(items, key=str), {topic: end_offsets(kafka, topic) for topic in self.topics}


def by_key(ids: Iterable[str]) -> dict[bytes, list[str]]:
    """Say what `Backlogs.ids_by_key` must find for ids in the order of acceptance."""
    expected: dict[bytes, list[str]] = {}
    for event_id in ids:
        expected.setdefault(b"key-%d" % (int(event_id.rpartition("-")[2]) % KEYS), []).append(event_id)
    return expected


def word(state: State[Any]) -> str:
    """Say how a flow run has ended, in its own word."""
    return str(state.message).partition(":")[0]
