"""The judge: reads topic and table back with plain clients, and compares with what the producers' journals say.

What it holds Redrive to, as `redrive.producer` states it:

- an acknowledged event is in the topic once, any other at most once, one that was not accepted never;
- its key, its bytes and its headers are what was published;
- events of one key and one producer stand in the order in which they were published;
- an event whose publishing began after another one of its key was acknowledged stands after it, whoever published them;
- lanes are open, and no events are left in the table.

Two things that it says can happen are counted apart: an event that is there by replay *and*, later, by a produce
request that a paused broker has read too late; and a batch that a late request of its own has written again after it
was published and deleted.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import fastavro
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from tests.faults.journal import Published, Story, fingerprint
from tests.faults.producing import TRACE

SCHEMA = {
    "type": "record",
    "name": "Soaked",
    "fields": [{"name": "sequence", "type": "long"}, {"name": "payload", "type": "bytes"}],
}
_parsed = fastavro.parse_schema(SCHEMA)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the topic.

    Attributes:
        origin: where a replay read it from; empty if its producer published it.
    """

    id: str
    partition: int
    offset: int
    key: str
    print: str
    origin: str
    headers: Mapping[str, Any]

    def __str__(self) -> str:
        return f"partition {self.partition} offset {self.offset} by {self.origin or 'its producer'}"


@dataclass
class Verdict:
    """What was found.

    Attributes:
        violations: one line each; empty if all is well.
        records: records in the topic.
        acknowledged: path → events acknowledged.
        replayed: records that came by replay.
        late: events there twice, since a produce request was read after the look-up.
        orphans: batches that late requests have written again.
    """

    violations: list[str] = field(default_factory=list)
    records: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    replayed: int = 0
    late: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)


def judge(
    story: Story, bootstrap: str, topic: str, dynamodb: str, table: str, *, one_view: bool, late_requests: bool
) -> Verdict:
    """Compare.

    Args:
        story: what the producers wrote down.
        one_view: order between producers is promised: their clocks agree, and none goes on without the gate.
        late_requests: requests to the table were repeated late on purpose.
    """
    verdict = Verdict()
    records = [_record(message) for message in read_topic(bootstrap, topic)]
    verdict.records = len(records)
    verdict.replayed = sum(bool(record.origin) for record in records)
    by_id: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_id[record.id].append(record)
    late = _check_presence(story, by_id, verdict)
    _check_content(story, records, verdict)
    _check_order(
        story, [record for record in records if (record.partition, record.offset) not in late], one_view, verdict
    )
    _check_table(dynamodb, table, late_requests, verdict)
    for event in story.events.values():
        if event.path:
            verdict.acknowledged[event.path] = verdict.acknowledged.get(event.path, 0) + 1
    if verdict.acknowledged.get("dead_letter"):
        verdict.violations.append(f"{verdict.acknowledged['dead_letter']} good events became dead letters")
    return verdict


def read_topic(bootstrap: str, topic: str) -> list[Message]:
    """Read all that is committed, each partition in order."""
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": "oracle",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    }
    # Committing a transaction returns before it shows everywhere: a read-committed reader may end too early.
    asking = Consumer({**config, "isolation.level": "read_uncommitted"})
    partitions = asking.list_topics(topic, timeout=30).topics[topic].partitions
    ends = {p: asking.get_watermark_offsets(TopicPartition(topic, p), timeout=30, cached=False)[1] for p in partitions}
    asking.close()
    consumer = Consumer({**config, "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    messages: list[Message] = []
    while ends:
        message = consumer.poll(60)
        assert message is not None, f"{topic} can't be read to its end: an open transaction?"
        error = message.error()
        if error is None:
            messages.append(message)
        elif error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= ends.get(message.partition(), 0):
            ends.pop(message.partition(), None)
    consumer.close()
    return messages


def _record(message: Message) -> Record:
    headers = dict(message.headers() or ())
    value = message.value() or b""
    payload = fastavro.schemaless_reader(io.BytesIO(value[5:]), _parsed)["payload"] if value else b""
    return Record(
        id=headers["ce_id"].decode(),
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=(message.key() or b"").decode(),
        print=fingerprint(payload),
        origin=headers.get("redrive-source", b"").decode(),
        headers=headers,
    )


def _check_presence(story: Story, by_id: Mapping[str, list[Record]], verdict: Verdict) -> set[tuple[int, int]]:
    """Check what is there how often; return the places of late records."""
    late: set[tuple[int, int]] = set()
    for event in story.events.values():
        there = by_id.get(event.id, [])
        if event.acknowledged and not there:
            verdict.violations.append(f"lost: {_history(event)}")
        if event.refused and there:
            verdict.violations.append(f"not accepted, yet there: {_history(event)}; {_places(there)}")
        if len(there) > 1:
            replayed = [record for record in there if record.origin]
            direct = [record for record in there if not record.origin]
            if len(replayed) == len(direct) == 1 and direct[0].offset > replayed[0].offset:
                late.add((direct[0].partition, direct[0].offset))
                verdict.late.append(f"{_history(event)}; {_places(there)}")
            else:
                verdict.violations.append(f"{len(there)} times: {_history(event)}; {_places(there)}")
    unknown = by_id.keys() - story.events.keys()
    verdict.violations += [f"nobody published {identity}: {_places(by_id[identity])}" for identity in unknown]
    return late


def _check_content(story: Story, records: Iterable[Record], verdict: Verdict) -> None:
    partition_of: dict[str, int] = {}
    for record in records:
        event = story.events.get(record.id)
        if event is None:
            continue
        if (record.key, record.print, record.headers.get("trace")) != (event.key, event.print, TRACE):
            verdict.violations.append(f"not what was published: {_history(event)}; {record}")
        if partition_of.setdefault(record.key, record.partition) != record.partition:
            verdict.violations.append(f"key {record.key} is on two partitions: {_history(event)}; {record}")


def _check_order(story: Story, records: Iterable[Record], one_view: bool, verdict: Verdict) -> None:
    """Check each key's records, which come in the order of the topic."""
    latest_call: dict[str, Published] = {}
    latest_number: dict[tuple[str, str], Published] = {}
    for record in records:
        event = story.events.get(record.id)
        if event is None:
            continue
        before = latest_number.setdefault((event.producer, event.key), event)
        if before.number > event.number:
            verdict.violations.append(f"out of order: {_history(before)} stands before {_history(event)}; {record}")
        else:
            latest_number[event.producer, event.key] = event
        before = latest_call.setdefault(event.key, event)
        if one_view and event.acknowledged and before.called > event.acknowledged:
            verdict.violations.append(
                f"overtaken: {_history(before)}, published after the other one was acknowledged, stands before "
                f"{_history(event)}; {record}"
            )
        if event.called > before.called:
            latest_call[event.key] = event


def _check_table(endpoint: str, table: str, late_requests: bool, verdict: Verdict) -> None:
    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    last: dict[str, tuple[int, str]] = {}
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            pk, sk, kind = item["pk"]["S"], int(item["sk"]["N"]), item.get("k", {}).get("S", "")
            if kind in ("events", "part"):
                line = f"left in the table: {pk} slot {sk} ({kind})"
                (verdict.orphans if late_requests else verdict.violations).append(line)
            if pk.startswith("lane|"):
                last[pk] = max(last.get(pk, (0, "")), (sk, kind))
    verdict.violations += [
        f"lane not open: {pk} ends with {end}" for pk, end in last.items() if end[1] not in ("open", "")
    ]


def _history(event: Published) -> str:
    end = (
        f"acknowledged by {event.path} after {(event.acknowledged - event.called) / 1e6:.0f} ms"
        if event.acknowledged
        else event.failed or event.refused or "never acknowledged"
    )
    return f"{event.id} (key {event.key}, published at {event.called / 1e9:.3f}, {end})"


def _places(records: Iterable[Record]) -> str:
    return json.dumps([str(record) for record in records])
