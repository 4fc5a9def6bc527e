"""Publishing: through the SDK beside a bare fastavro + produce() loop; and diverted, beside one item an event."""

from __future__ import annotations

import io
import json
import time
import uuid
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
import fastavro
from confluent_kafka import Producer

from bench.measure import Row, compare
from bench.platform import SCHEMA, Bench
from deployments.demo.flights import flights
from redrive.config import Config
from redrive.dispatch import DispatchSettings
from redrive.producer import EventProducer
from redrive.topics import apply_topics

EVENTS = 120_000
ITEMS = 1_500


@cache
def departed() -> list[tuple[str | None, dict[str, Any]]]:
    return list(islice(((plane, event) for _, plane, event in flights() if event["dep_time"] is not None), EVENTS))


def rows(folder: Path) -> list[Row]:
    """Return the rows about publishing."""
    return [
        compare(
            "publishing real flights through the SDK beside fastavro + produce() (events/s)",
            lambda: sdk(folder),
            lambda: bare(folder),
            at_least=0.6,
        ),
        compare(
            "publishing while Kafka is away beside one put_item an event (events/s)",
            lambda: diverted(folder),
            lambda: one_item_an_event(folder),
            at_least=20,
        ),
    ]


def sdk(folder: Path) -> float:
    """Return events a second through the SDK: validated, with CloudEvents headers, acknowledged."""
    events = departed()
    bench = Bench(folder)
    apply_topics(bench.config)
    with EventProducer("bench", bench.config, topics=[bench.topic]) as producer:
        producer.publish(bench.topic, "warm", events[0][1]).result()
        started = time.perf_counter()
        for plane, event in events:
            producer.publish(bench.topic, plane, event)
        producer.flush()
        seconds = time.perf_counter() - started
        assert producer.counts["main"] == len(events) + 1, producer.counts
    return len(events) / seconds


def bare(folder: Path) -> float:
    """Return events a second of the loop that a user would write: no validation, no headers, no second path."""
    events = departed()
    bench = Bench(folder)
    schema = fastavro.parse_schema(json.loads(SCHEMA.read_text()))
    producer = Producer({**bench.client, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5,
                         "queue.buffering.max.messages": 1_000_000})  # fmt: skip
    producer.produce(bench.topic, b"warm")
    producer.flush()
    acknowledged = [0]

    def delivered(error: object, _message: object) -> None:
        assert error is None, error
        acknowledged[0] += 1

    started = time.perf_counter()
    for number, (plane, event) in enumerate(events):
        body = io.BytesIO()
        body.write(b"\x00\x00\x00\x00\x01")
        fastavro.schemaless_writer(body, schema, event)
        producer.produce(bench.topic, body.getvalue(), plane, on_delivery=delivered)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush()
    seconds = time.perf_counter() - started
    assert acknowledged[0] == len(events), acknowledged
    return len(events) / seconds


def diverted(folder: Path) -> float:
    """Return events a second through the SDK while no broker answers, acknowledged by the standby store."""
    events = departed()
    bench = Bench(folder)
    apply_topics(bench.config)
    away = Config.load(bench.settings).model_copy(deep=True)
    away.clusters["local"] = away.clusters["local"].model_copy(update={"bootstrap": "127.0.0.1:9"})
    settings = DispatchSettings(divert_after=0.5, gate_refresh=away.standby.gate_refresh)
    with EventProducer("bench", away, topics=[bench.topic], settings=settings) as producer:
        # The first event finds out that Kafka is away; what is measured is life after that.
        producer.publish(bench.topic, "warm", events[0][1]).result()
        started = time.perf_counter()
        for plane, event in events:
            producer.publish(bench.topic, plane, event)
        producer.flush()
        seconds = time.perf_counter() - started
        assert producer.counts["standby"] == len(events) + 1, producer.counts
    return len(events) / seconds


def one_item_an_event(folder: Path) -> float:
    """Return events a second of the plain way to stand by: a conditional put_item for each event."""
    events = departed()
    bench = Bench(folder)
    schema = fastavro.parse_schema(json.loads(SCHEMA.read_text()))
    client = boto3.client(
        "dynamodb", region_name=bench.config.standby.region, endpoint_url=bench.config.standby.endpoint
    )
    started = time.perf_counter()
    for number, (plane, event) in enumerate(events[:ITEMS]):
        body = io.BytesIO()
        fastavro.schemaless_writer(body, schema, event)
        client.put_item(
            TableName=bench.config.standby.table,
            Item={
                "pk": {"S": f"events#{plane}"},
                "sk": {"N": str(number)},
                "id": {"S": str(uuid.uuid4())},
                "value": {"B": body.getvalue()},
            },
            ConditionExpression="attribute_not_exists(pk)",
        )
    return ITEMS / (time.perf_counter() - started)
