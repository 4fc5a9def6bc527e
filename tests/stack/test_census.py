"""A census of real topics: mixed schemas, broken frames, tombstones, transactions; and what the registry says."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app
from redrive.errors import UnavailableError, UnknownTopicError
from redrive.migrations.census import Count, take_census
from redrive.wire import prefix
from tests.stack.platform import ORDER, Platform

NEWER = {**ORDER, "fields": [*ORDER["fields"], {"name": "total", "type": "double", "default": 0.0}]}
STRICTER = {**ORDER, "fields": [{"name": "id", "type": "string"}, {"name": "who", "type": "string"}]}


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    platform = Platform(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(platform.file))
    return platform


def client(platform: Platform) -> dict[str, Any]:
    return {"bootstrap.servers": platform.bootstrap}


def transaction(platform: Platform, values: Iterable[bytes], partition: int, end: str) -> Producer:
    """Write in a transaction of its own, and ``commit`` it, ``abort`` it, or leave it ``open``."""
    config = {"transactional.id": uuid.uuid4().hex, "transaction.timeout.ms": 60_000}
    producer = Producer(client(platform) | config)
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(platform.orders, value, b"k", partition)
    producer.flush(30)
    if end == "commit":
        producer.commit_transaction(30)
    elif end == "abort":
        producer.abort_transaction(30)
    return producer


def test_events_are_counted_by_schema_and_partition(platform: Platform) -> None:
    platform.send(platform.orders, [prefix(1) + b"x"] * 30 + [prefix(2)] * 12 + [None] * 3, partition=0)
    platform.send(platform.orders, [b"", b"\0\0", b"{}", prefix(0xFFFFFFFF), prefix(1)], partition=1)
    census = take_census(client(platform), platform.orders)
    first, second = census.partitions
    assert (first.start, first.end, first.count) == (0, 45, Count({1: 30, 2: 12}, tombstones=3))
    assert (second.start, second.end, second.count) == (0, 5, Count({1: 1, 0xFFFFFFFF: 1}, unframed=3))
    assert census.total == Count({1: 31, 2: 12, 0xFFFFFFFF: 1}, unframed=3, tombstones=3)
    assert not census.sampled


def test_only_what_is_committed_counts(platform: Platform) -> None:
    for end, schema_id in (("commit", 1), ("abort", 2), ("commit", 3), ("abort", 4)):
        transaction(platform, [prefix(schema_id)] * 10, 0, end)
    transaction(platform, [prefix(5)] * 10, 1, "abort")
    census = take_census(client(platform), platform.orders)
    assert [one.count for one in census.partitions] == [Count({1: 10, 3: 10}), Count()]
    assert take_census(client(platform), platform.orders, sample=2).total == census.total


def test_a_transaction_that_stays_open_is_told_after_the_patience(platform: Platform) -> None:
    producer = transaction(platform, [prefix(1)], 1, "open")
    with pytest.raises(UnavailableError, match="left a transaction open"):
        take_census(client(platform), platform.orders, patience=2)
    producer.abort_transaction(30)


def test_samples_look_only_at_their_ranges(platform: Platform) -> None:
    platform.send(platform.orders, [prefix(1)] * 1_000 + [prefix(2)] * 3_000 + [prefix(3)] * 1_000, partition=0)
    platform.send(platform.orders, [prefix(9)] * 10, partition=1)
    two, three = (take_census(client(platform), platform.orders, sample=sample) for sample in (2, 3))
    assert two.total.ids == {1: 1_000, 3: 1_000, 9: 10}
    assert three.total.ids == {1: 1_000, 2: 1_000, 3: 1_000, 9: 10}
    assert two.sampled
    assert not take_census(client(platform), platform.orders, sample=5).sampled


def test_what_is_deleted_from_the_head_and_an_empty_topic_are_no_trouble(platform: Platform) -> None:
    assert take_census(client(platform), platform.orders).total == Count()
    platform.send(platform.orders, [prefix(1)] * 20 + [prefix(2)] * 5, partition=1)
    from confluent_kafka import TopicPartition

    admin = AdminClient(client(platform))
    for deleted in admin.delete_records([TopicPartition(platform.orders, 1, 22)]).values():
        deleted.result()
    census = take_census(client(platform), platform.orders)
    assert [(one.start, one.end, one.count) for one in census.partitions] == [
        (0, 0, Count()),
        (22, 25, Count({2: 3})),
    ]


def test_a_topic_that_is_not_there_is_named(platform: Platform) -> None:
    with pytest.raises(UnknownTopicError, match="no-such-topic"):
        take_census(client(platform), "no-such-topic")


def test_the_command_tells_versions_and_shares(platform: Platform) -> None:
    newer = platform.register(f"{platform.orders}-value", NEWER)
    platform.send(platform.orders, platform.orders_of(range(6)))
    platform.send(platform.orders, [prefix(newer) + b"\0\0\0\0\0\0\0\0\0\0", None, b"?", prefix(999_999)], partition=1)
    told = json.loads(CliRunner().invoke(app, ["schemas", "census", platform.orders, "--json"]).stdout)
    assert (told["events"], told["unframed"], told["tombstones"], told["sampled"]) == (10, 1, 1, False)
    older = platform.writer.schema_id
    assert {one["id"]: (one["version"], one["events"], one["share"]) for one in told["schemas"]} == {
        older: (1, 6, 0.6),
        newer: (2, 1, 0.1),
        999_999: (None, 1, 0.1),
    }
    assert [one["events"] for one in told["partitions"]] == [6, 4]
    table = CliRunner().invoke(app, ["schemas", "census", platform.orders, "--by-partition"])
    assert table.exit_code == 0
    assert "not framed" in table.stdout
    assert "60.00%" not in table.stdout
    assert "100.00%" in table.stdout


def test_the_command_says_what_stands_between_versions_and_a_new_schema(platform: Platform, tmp_path: Path) -> None:
    platform.register(f"{platform.orders}-value", NEWER)
    platform.client().set_compatibility(f"{platform.orders}-value", "BACKWARD")
    file = tmp_path / "new.avsc"
    file.write_text(json.dumps(STRICTER))
    result = CliRunner().invoke(app, ["schemas", "compatibility", platform.orders, str(file), "--json"])
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert told["registry"] == {"fits": False, "rule": "BACKWARD"}
    assert [(one["version"], one["kind"], one["path"]) for one in told["findings"] if one["breaks"]] == [
        (version, kind, path)
        for version in (1, 2)
        for kind, path in (("type-mismatch", "id"), ("missing-default", "who"))
    ]
    table = CliRunner().invoke(app, ["schemas", "compatibility", platform.orders, str(file)])
    assert "convert /id to string" in table.stdout
    assert "may not follow" in table.stdout
    good = CliRunner().invoke(app, ["schemas", "compatibility", platform.orders])
    assert good.exit_code == 0
    assert "Avro resolves every version." in good.stdout
