"""Replaying a standby store: ours beside the loop that a user would write, and beside ours without transactions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key
from confluent_kafka import Producer

from bench.measure import Row, compare
from bench.platform import LANES, Bench, stored_events
from redrive.events import Event
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.pump import Pump
from redrive.pump.sink import TUNING
from redrive.standby.drain import PREFETCH, drain
from redrive.standby.replay import LaneReplay
from redrive.standby.writer import SystemClock

EVENTS = 600_000
LOOP_EVENTS = 12_000
PARALLEL = 4  # as the job does unless told otherwise


def rows(folder: Path) -> list[Row]:
    """Return the rows about replay."""
    return [
        compare(
            "replay, transactions and order, beside a plain boto3 + produce() loop (events/s)",
            lambda: replay(folder),
            lambda: loop(folder),
            at_least=8,
        ),
        compare(
            "replay with transactions beside the same without (events/s)",
            lambda: replay(folder),
            lambda: replay_without_transactions(folder),
            at_least=0.9,
        ),
    ]


def replay(folder: Path, events: int = EVENTS) -> float:
    """Return events a second of our replay: exactly once, in order, slots deleted, lanes reopened."""
    bench = Bench(folder)
    bench.fill(events)
    started = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as pool:
        results = list(pool.map(lambda lane: drain(bench.config, lane, operation="bench"), bench.lanes))
    seconds = time.perf_counter() - started
    published = sum(result.outcome.published for result in results)
    assert published == events, published
    return events / seconds


class _PlainSink:
    """The same producer without transactions; for a speed to compare with, not for use."""

    def __init__(self, client: dict[str, Any]) -> None:
        self._producer = Producer({**client, **TUNING, "enable.idempotence": True, "on_delivery": lambda *_: None})

    def start(self) -> bytes | None:
        return None

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        for event in events:
            headers = [*event.headers, ("redrive-operation", b"bench"), ("redrive-source", event.origin)]
            while True:
                try:
                    self._producer.produce(
                        event.topic, event.value, event.key, timestamp=event.timestamp, headers=headers
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.flush()

    def close(self) -> None:
        self._producer.flush()


def replay_without_transactions(folder: Path, events: int = EVENTS) -> float:
    """Return events a second of the same pump into an idempotent producer: no cursor in Kafka, no exactly once."""
    bench = Bench(folder)
    bench.fill(events)

    def run(number: int) -> int:
        source = LaneReplay(
            bench.store, bench.lanes[number], lambda *_: set(), clock=SystemClock(), owner="bench", settle=0
        )
        sink = _PlainSink(bench.client)
        pump = Pump(source, sink, parking_topic="unused", prefetch=PREFETCH)
        cursor: bytes | None = None
        while source.next_epoch(Checkpoint.decode(cursor).source) is not None:
            cursor = pump.run(cursor).cursor
            source.open(Checkpoint.decode(cursor).source)
        pump.run(cursor)  # tidies up
        sink.close()
        return pump.outcome.published

    started = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as pool:
        published = sum(pool.map(run, range(LANES)))
    assert published == events, published
    return events / (time.perf_counter() - started)


def loop(folder: Path, events: int = LOOP_EVENTS) -> float:
    """Return events a second of the plain loop: one event an item; a page, produce(), flush, batch delete, the next."""
    bench = Bench(folder)
    resource = boto3.resource(
        "dynamodb", region_name=bench.config.standby.region, endpoint_url=bench.config.standby.endpoint
    )
    table = resource.Table(bench.config.standby.table)
    with table.batch_writer() as batch:
        for number, event in enumerate(stored_events(events, seed=99)):
            batch.put_item(
                Item={
                    "pk": f"events#{number % LANES}",
                    "sk": number,
                    "id": event.id,
                    "key": event.key,
                    "value": event.value,
                    "headers": dict(event.headers),
                    "at": event.accepted,
                }
            )
    producer = Producer({**bench.client, "enable.idempotence": True, "compression.type": "lz4"})
    count = 0
    started = time.perf_counter()
    for lane in range(LANES):
        start: dict[str, Any] = {}
        while True:
            page = table.query(KeyConditionExpression=Key("pk").eq(f"events#{lane}"), ConsistentRead=True, **start)
            items: list[dict[str, Any]] = page["Items"]
            for item in items:
                producer.produce(
                    bench.topic,
                    item["value"].value,
                    item["key"].value,
                    headers={name: value.value for name, value in item["headers"].items()},
                    timestamp=int(item["at"]),
                )
                count += 1
            producer.flush()
            with table.batch_writer() as batch:
                for item in page["Items"]:
                    batch.delete_item(Key={"pk": item["pk"], "sk": item["sk"]})
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert count == events, count
    return events / (time.perf_counter() - started)
