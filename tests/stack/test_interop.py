"""Other people's clients read what we write, and we read what they write."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaReference, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deployments.local.stack import Stack
from redrive import envelope
from redrive.murmur2 import partition_of
from tests.stack.platform import Platform

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
LINE = {
    "type": "record",
    "name": "Line",
    "fields": [{"name": "sku", "type": "string"}, {"name": "price", "type": DECIMAL}],
}
EVERYTHING = {
    "type": "record",
    "name": "Everything",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": MILLIS},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
        {"name": "lines", "type": {"type": "array", "items": LINE}},
        {"name": "labels", "type": {"type": "map", "values": "double"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
        {"name": "either", "type": ["null", "string", "long", "Line"], "default": None},
        {"name": "ratio", "type": "float"},
        {"name": "raw", "type": "bytes", "default": "\u00ff"},
    ],
}
VALUE = {
    "id": 2**62,
    "at": datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "lines": [{"sku": "naïve 🚂", "price": Decimal("-12.34")}],
    "labels": {"a": 0.1},
    "kind": "OLD",
    "hash": b"\x00\x01\x02\xff",
    "either": {"sku": "x", "price": Decimal("0.01")},
    "ratio": 0.5,
    "raw": b"\x80",
}


# By default Confluent's clients first ask for associations of the topic. Apicurio has nothing of that interface, and
# once in some thousand times it leaves such a request without an answer.
STRATEGY = {"subject.name.strategy": topic_subject_name_strategy}


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "change", [{}, {"either": "text"}, {"either": 5}, {"either": None, "day": None}, {"raw": b""}, {"lines": []}]
)
def test_confluents_deserializer_reads_what_we_write(platform: Platform, change: dict[str, Any]) -> None:
    writer = platform.registry.writer(f"all-{platform.orders}", json.dumps(EVERYTHING), register=True)
    context = SerializationContext(writer.topic, MessageField.VALUE)
    assert AvroDeserializer(platform.client(), conf=STRATEGY)(writer.encode(VALUE | change), context) == VALUE | change


@pytest.mark.parametrize("change", [{}, {"either": "text"}, {"either": 5}, {"either": None, "day": None}])
def test_we_read_what_confluents_serializer_writes(platform: Platform, change: dict[str, Any]) -> None:
    topic = f"all-{platform.orders}"
    serializer = AvroSerializer(platform.client(), json.dumps(EVERYTHING), conf=STRATEGY)
    data = serializer(VALUE | change, SerializationContext(topic, MessageField.VALUE))
    assert data is not None
    assert platform.registry.reader().decode(data) == VALUE | change


def test_a_schema_that_refers_to_another_is_written_and_read(platform: Platform) -> None:
    """Registered by Confluent's client, as two subjects; the outer one is a union of references."""
    subject = f"line-{platform.orders}"
    platform.register(subject, LINE | {"namespace": "shop"})
    reference = SchemaReference("shop.Line", subject, 1)
    topic = f"refs-{platform.orders}"
    fields = [{"name": "line", "type": "shop.Line"}]
    outer = {"type": "record", "name": "Outer", "namespace": "shop", "fields": fields}
    platform.register(f"{topic}-value", outer, [reference])
    writer = platform.registry.writer(topic)
    value = {"line": {"sku": "x", "price": Decimal("1.00")}}
    data = writer.encode(value)
    assert platform.registry.reader().decode(data) == value
    deserializer = AvroDeserializer(platform.client(), conf=STRATEGY)
    assert deserializer(data, SerializationContext(topic, MessageField.VALUE)) == value


def test_keys_land_where_the_murmur2_partitioner_of_librdkafka_puts_them(platform: Platform) -> None:
    """It is the partitioner that agrees with the Java client's."""
    chance = random.Random(7)
    keys = [b"", b"\x00", b"21", b"foobar", "naïve".encode()]
    keys += [chance.randbytes(chance.randrange(1, 40)) for _ in range(3_000)]
    landed: dict[bytes, int] = {}
    config = {"bootstrap.servers": platform.bootstrap, "partitioner": "murmur2_random", "linger.ms": 50}
    producer = Producer(config)
    topic = platform.orders
    for key in keys:
        producer.produce(
            topic, b"", key, on_delivery=lambda _, message: landed.__setitem__(message.key(), message.partition())
        )
    assert producer.flush(30) == 0
    count = len(producer.list_topics(topic).topics[topic].partitions)
    assert landed == {key: partition_of(key, count) for key in keys}
    assert set(landed.values()) == set(range(count))


def kcat(*arguments: str) -> bytes:
    program = shutil.which("kcat")
    assert program, "kcat is not installed; it is in Debian's package kcat, which `make test` installs"
    return subprocess.run([program, *arguments], check=True, capture_output=True, timeout=60).stdout


def test_kcat_shows_keys_and_headers_as_expected(platform: Platform) -> None:
    headers = envelope.headers("e-17", source="orders-service", type=platform.orders, time_ms=1_793_500_000_007)
    platform.send(platform.orders, platform.orders_of([17]), key=b"order-17", headers=headers)
    shown = kcat("-C", "-b", platform.bootstrap, "-t", platform.orders, "-e", "-q", "-f", "%k|%S|%h\n").decode()
    assert shown == (
        f"order-17|{len(platform.orders_of([17])[0])}|ce_id=e-17,ce_specversion=1.0,ce_source=orders-service,"
        f"ce_type={platform.orders},ce_time=2026-11-01T02:26:40.007Z,content-type=application/avro\n"
    )
