"""A year of flights goes to the second version of its schema, by the rules that are delivered, and its readers with it.

By default one flight in twenty, of the whole year; all 336,776 with ``REDRIVE_FLIGHTS=year``, which takes minutes.
"""

from __future__ import annotations

import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.demo.flights import flights
from deployments.local.stack import Stack
from flows.schema_backfill import Backfill, schema_backfill
from redrive.config import Config
from redrive.pump.readback import end_offsets, scan
from redrive.schemas import SchemaRegistry
from redrive.topics import apply_topics
from tests.stack.backlog import word
from tests.stack.environment import forget_settings

ROOT = Path(__file__).parents[3]
PARTITIONS = 3
GROUPS = 5
EVERY = 1 if os.environ.get("REDRIVE_FLIGHTS") == "year" else 20
NEW_YORK = ZoneInfo("America/New_York")

pytestmark = pytest.mark.timeout(1800 if EVERY == 1 else 240)


@dataclass
class Airport:
    """Two topics of flights, one of which is to be filled from the other; the first one has what can't be migrated.

    Attributes:
        rows: event id → its row of the data, as long as it is a flight.
        poison: how many events are no flights.
    """

    config: Config
    client: dict[str, Any]
    source: str
    rows: dict[bytes, dict[str, Any]]
    poison: int = 0

    @property
    def target(self) -> str:
        return f"{self.source}.v2"

    def publish(self, chance: random.Random) -> None:
        """Publish the flights: plainly, in transactions, in some that are aborted, and what is no flight between."""
        writer = SchemaRegistry(self.config.registry_client_config()).writer(self.source)
        plain = Producer(self.client | {"compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})
        taking = Producer(self.client | {"transactional.id": f"{self.source}-taking"})
        taking.init_transactions(30)
        for number, plane, flight in flights():
            if number % EVERY:
                continue
            if flight["dep_time"] is None:  # as rules/cancelled_flights.yaml has them published
                flight |= {"dep_time": -1, "dep_delay": 0, "tailnum": flight["tailnum"] or ""}
            identity, partition = b"flight-%d" % number, chance.randrange(PARTITIONS)
            self.rows[identity] = flight
            event: dict[str, Any] = {"key": (plane or "").encode(), "headers": [("ce_id", identity)]}
            value = writer.encode(flight)
            if chance.random() < 0.002:
                plain.flush()  # so that a partition's order is the data's
                taking.begin_transaction()
                if chance.random() < 0.5:
                    taking.produce(self.source, value, partition=partition, **event)
                    taking.abort_transaction(30)
                    taking.begin_transaction()
                taking.produce(self.source, value, partition=partition, **event)
                taking.commit_transaction(30)
            else:
                plain.produce(self.source, value, partition=partition, **event)
            if chance.random() < 0.001:
                self.poison += 1
                plain.produce(self.source, chance.choice([b"", b"\x00", value[:-3], b"{}"]), b"poison", partition)
            plain.poll(0)
        assert plain.flush(60) == 0

    def commit(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        consumer = Consumer(self.client | {"group.id": group})
        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()

    def places(self, group: str, topic: str) -> dict[int, int]:
        consumer = Consumer(self.client | {"group.id": group})
        places = consumer.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=10)
        consumer.close()
        return {place.partition: place.offset for place in places}

    def read(self, topic: str) -> Iterator[Message]:
        end = dict(enumerate(end_offsets(self.client, topic)))
        for messages in scan(self.client, topic, end=end, patience=120):
            yield from messages


@pytest.fixture
def airport(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Airport]:
    forget_settings(stack, monkeypatch)
    topic = f"flights.{uuid.uuid4().hex[:8]}"
    (tmp_path / "rules.yaml").write_text(
        (ROOT / "rules/flights_v2.yaml").read_text().replace("flights.departed", topic)
    )
    (tmp_path / "redrive.toml").write_text(f"""\
[standby]
table = "{topic}"
endpoint = "{stack.endpoints.dynamodb}"
[registry]
url = "{stack.endpoints.registry}"
[clusters.one]
bootstrap = "{stack.endpoints.bootstrap}"
[domains.flights]
cluster = "one"
[topics."{topic}"]
domain = "flights"
partitions = {PARTITIONS}
schema = "{ROOT}/schemas/flight_departed.avsc"
[topics."{topic}.v2"]
domain = "flights"
partitions = {PARTITIONS}
schema = "{ROOT}/schemas/flight_departed_v2.avsc"
[ledger]
url = "sqlite:///ledger.db"
[backfills]
approval = "none"
""")
    config = Config.load(tmp_path / "redrive.toml")
    apply_topics(config)
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield Airport(config, config.cluster("one").client_config(), topic, {})


def test_groups_at_random_places_read_each_flight_once_and_in_order_over_both_versions(airport: Airport) -> None:
    chance = random.Random(2013)
    airport.publish(chance)
    ends = end_offsets(airport.client, airport.source)
    groups = {
        f"{airport.source}-{number}": {each: chance.randrange(end + 1) for each, end in enumerate(ends)}
        for number in range(GROUPS)
    }
    for group, offsets in groups.items():
        airport.commit(group, airport.source, offsets)

    asked = Backfill(
        mode="run",
        goal="cut_over",
        source=airport.source,
        target=airport.target,
        rules="rules.yaml",
        most_parked=airport.poison,
    )
    state = schema_backfill(asked, return_state=True)

    assert word(state) == "proved", state.message
    assert airport.poison > 0
    places = {group: airport.places(group, airport.target) for group in groups}
    seen: dict[str, Counter[bytes]] = {group: Counter() for group in groups}
    order: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    for message in airport.read(airport.source):
        partition, offset, identity = _where(message)
        if identity in airport.rows:
            order[partition].append(identity)
            for group in groups:
                seen[group][identity] += offset < groups[group][partition]
    after: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    decode = SchemaRegistry(airport.config.registry_client_config()).reader(airport.target).decode
    for message in airport.read(airport.target):
        partition, offset, identity = _where(message)
        after[partition].append(identity)
        assert decode(message.value() or b"") == second_version(airport.rows[identity]), identity
        for group in groups:
            seen[group][identity] += offset >= places[group][partition]
    assert after == order
    assert sum(map(len, order.values())) == len(airport.rows)
    for group in groups:
        assert seen[group].keys() == airport.rows.keys()
        assert set(seen[group].values()) == {1}, group


def _where(message: Message) -> tuple[int, int, bytes]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    identity = dict(message.headers() or []).get("ce_id", b"")
    assert isinstance(identity, bytes)
    return partition, offset, identity


def second_version(row: dict[str, Any]) -> dict[str, Any]:
    """What a flight is in the second version, from its data alone and without rules."""
    scheduled = datetime(row["year"], row["month"], row["day"], row["hour"], row["minute"], tzinfo=NEW_YORK).astimezone(
        UTC
    )
    cancelled = row["dep_time"] == -1
    return {
        "carrier": row["carrier"],
        "flight_number": row["flight"],
        "tail_number": row["tailnum"],
        "origin": row["origin"],
        "destination": row["dest"],
        "scheduled_departure": scheduled,
        "departed_at": None if cancelled else scheduled + timedelta(minutes=row["dep_delay"]),
        "departure_delay": row["dep_delay"],
        "cancelled": cancelled,
        "scheduled_arrival": _time_of_day(row["sched_arr_time"]),
        "arrival": None if row["arr_time"] is None else _time_of_day(row["arr_time"]),
        "arrival_delay": row["arr_delay"],
        "air_time": row["air_time"],
        "distance": float(row["distance"]),
    }


def _time_of_day(number: int) -> dict[str, int]:
    hour, minute = divmod(number, 100)
    return {"hour": hour, "minute": minute}
