"""Events whose producers gave them a time that can't be: brokers take it, depending on their version and settings."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from redrive.aliases import Alias
from redrive.health import stayed
from tasks.words import moment
from tests.unit.mock_kafka import MockKafka

NOW = int(time.time() * 1000)


def publish(mock_kafka: MockKafka, *at: int) -> None:
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
    for each in at:
        producer.produce("orders", b"an event", partition=0, timestamp=each)
    assert producer.flush(10) == 0


def test_they_are_counted_and_told_as_of_now_at_the_latest(
    mock_kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stayed, "copied_so_far", lambda *_: {})
    publish(mock_kafka, NOW - 60_000, NOW * 1_000)  # the second in microseconds
    alias = Alias("orders", "orders.v2", "orders.v2", 1, schema_id=1, schema="{}", places={0: (0, 0)})
    found = stayed._read({"bootstrap.servers": mock_kafka.bootstrap}, "east", alias, {}, time.monotonic() + 20)
    assert (found.events, found.since) == (2, NOW - 60_000)
    assert found.last is not None
    assert NOW <= found.last <= time.time() * 1000
    assert moment(found.last).startswith(f"{datetime.now(UTC):%Y}")
