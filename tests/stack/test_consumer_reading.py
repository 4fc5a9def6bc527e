"""What the consumer hands over of a real cluster: every event, in order, and none twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from deployments.local.stack import Stack
from redrive.consumer import ConsumerSettings
from redrive.events import Headers
from redrive.received import ReceivedEvent
from tests.stack.consuming import Handled, consume, of
from tests.stack.platform import Platform


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


def test_events_are_handled_in_order_and_committed(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(2_000)))
    handled = Handled()
    counts = consume(platform, handled, until=lambda: len(handled.events) >= 2_000)
    assert handled.ids == list(range(2_000))
    assert counts == {"handled": 2_000, "duplicates": 0, "dead_lettered": 0, "retried": 0}
    assert platform.committed(platform.orders) == 2_000
    again = Handled()
    consume(platform, again)
    assert again.events == []


def test_an_event_carries_all_that_kafka_knows_of_it(platform: Platform) -> None:
    headers = [*of("e-1"), ("trace", b"\xff"), ("trace", None)]
    platform.send(
        platform.orders, platform.orders_of([5]), key=b"\xff\xfe", headers=headers, timestamp=1234, partition=1
    )
    handled = Handled()
    consume(platform, handled, until=lambda: bool(handled.events))
    assert handled.events == [
        ReceivedEvent("e-1", platform.orders, 1, 0, b"\xff\xfe", {"id": 5, "note": None}, headers, 1234, "shop", "one")
    ]


@pytest.mark.parametrize(
    ("value", "key", "headers"),
    [
        (None, b"k", []),
        (b"order", None, []),
        (b"order", b"", []),
        (b"order", b"\xff\x00", []),
        (b"order", b"k", [(f"h{i}", b"x") for i in range(10_000)]),
        (b"large", b"k", []),
    ],
    ids=["tombstone", "no key", "empty key", "key not UTF-8", "10,000 headers", "900 KB"],
)
def test_unusual_events_are_handled_like_all_others(
    platform: Platform, value: bytes | None, key: bytes | None, headers: Headers
) -> None:
    large = {"id": 1, "note": "x" * 900_000}
    body = {b"order": platform.orders_of([1])[0], b"large": platform.writer.encode(large), None: None}[value]
    platform.send(platform.orders, [body], key=key, headers=headers)
    handled = Handled()
    consume(platform, handled, until=lambda: bool(handled.events))
    event = handled.events[0]
    assert event.value == (large if value == b"large" else None if value is None else {"id": 1, "note": None})
    assert (event.key, event.headers) == (key, headers)
    assert event.id == f"{platform.orders}/0/0"


def test_duplicates_are_dropped_by_id_and_source(platform: Platform) -> None:
    for number, (event_id, source) in enumerate([("a", "x"), ("a", "x"), ("b", "x"), ("a", "y"), ("b", "x")]):
        platform.send(platform.orders, platform.orders_of([number]), headers=of(event_id, source))
    handled = Handled()
    assert consume(platform, handled)["duplicates"] == 2
    assert handled.ids == [0, 2, 3]
    assert platform.committed(platform.orders) == 5


def test_the_window_forgets_the_oldest(platform: Platform) -> None:
    for number, event_id in enumerate(["a", "b", "c", "a", "c"]):
        platform.send(platform.orders, platform.orders_of([number]), headers=of(event_id))
    handled = Handled()
    consume(platform, handled, settings=ConsumerSettings(window=2))
    assert handled.ids == [0, 1, 2, 3]


def test_what_an_aborted_transaction_wrote_is_not_seen(platform: Platform) -> None:
    config = {"bootstrap.servers": platform.bootstrap, "transactional.id": platform.group}
    producer = Producer(config)
    producer.init_transactions(30)
    for number, end in [(1, producer.abort_transaction), (2, producer.commit_transaction)]:
        producer.begin_transaction()
        producer.produce(platform.orders, platform.orders_of([number])[0], partition=0)
        producer.flush(30)
        end(30)
    handled = Handled()
    consume(platform, handled, until=lambda: bool(handled.events))
    assert handled.ids == [2]


def test_topics_of_several_domains_are_read_at_once(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(50)))
    platform.send(platform.refunds, platform.orders_of(range(50, 100)))
    handled = Handled()
    consume(platform, handled, platform.orders, platform.refunds, until=lambda: len(handled.events) >= 100)
    assert sorted(handled.ids) == list(range(100))
    assert {(event.topic, event.cluster) for event in handled.events} == {
        (platform.orders, "one"),
        (platform.refunds, "two"),
    }
