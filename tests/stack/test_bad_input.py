"""Bad and odd input, by both paths: straight to Kafka, or, with that out of reach, by the standby store and its replay.

Each is a typed error or handled rightly, the good events around it go on, and no lane is left stuck.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

import redrive.producing.outlets
from deployments.local.stack import Stack
from redrive.config import Config
from redrive.deadletters.letter import Letter, read_letter
from redrive.dispatch import DispatchSettings
from redrive.errors import ConfigError, InvalidEventError, PublishError
from redrive.producer import EventProducer
from redrive.pump.names import PARKING_TOPIC
from redrive.standby.drain import LaneResult, drain, open_store
from redrive.standby.survey import survey
from redrive.standby.writer import SystemClock
from redrive.topics import apply_topics
from tests.faults.oracle import read_topic

SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "long"}, {"name": "body", "type": "bytes", "default": ""}],
}
SETTINGS = DispatchSettings(divert_after=2.0, gate_refresh=0.2, seal_wait=1.0, publish_timeout=30.0)
NOWHERE = "127.0.0.1:9"


class Shop:
    """A platform of the test's own.

    Attributes:
        orders: an ordinary topic.
        large: one that takes events of 4 MB.
        compacted: one that keeps the last event of each key, and so takes none without.
        dead_letters: the producer's dead-letter topic; takes 2 MB.
        standby: publish by the standby store.
    """

    def __init__(self, stack: Stack, folder: Path, *, standby: bool) -> None:
        unique = uuid.uuid4().hex[:8]
        self.orders, self.large, self.compacted = f"orders-{unique}", f"large-{unique}", f"compacted-{unique}"
        self.name = f"billing-{unique}"
        self.dead_letters = f"dlq.{self.name}"
        self.standby = standby
        self._bootstrap = stack.endpoints.bootstrap
        self._producers: list[EventProducer] = []
        (folder / "order.avsc").write_text(json.dumps(SCHEMA))
        for file, bootstrap in (("redrive.toml", self._bootstrap), ("cut-off.toml", NOWHERE)):
            (folder / file).write_text(f"""\
[standby]
table = "standby-{unique}"
endpoint = "{stack.endpoints.dynamodb}"
gate_refresh = {SETTINGS.gate_refresh}
[registry]
url = "{stack.endpoints.registry}"
[clusters.local]
bootstrap = "{bootstrap}"
[domains.sales]
cluster = "local"
[topics."{self.orders}"]
domain = "sales"
partitions = 2
schema = "order.avsc"
[topics."{self.large}"]
domain = "sales"
partitions = 2
schema = "order.avsc"
config = {{"max.message.bytes" = 4000000}}
[topics."{self.compacted}"]
domain = "sales"
partitions = 1
schema = "order.avsc"
config = {{"cleanup.policy" = "compact"}}
[topics."{self.dead_letters}"]
domain = "sales"
partitions = 1
config = {{"max.message.bytes" = 2000000}}
""")
        self.config = Config.load(folder / "redrive.toml")
        self.create_topics()
        self._config = Config.load(folder / "cut-off.toml") if standby else self.config

    def producer(self) -> EventProducer:
        producer = EventProducer(self.name, self._config, settings=SETTINGS)
        self._producers.append(producer)
        return producer

    @property
    def path(self) -> str:
        return "standby" if self.standby else "main"

    def create_topics(self) -> None:
        apply_topics(self.config)

    def delete_topic(self, topic: str) -> None:
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        admin.delete_topics([topic])[topic].result()
        while topic in admin.list_topics(timeout=10).topics:
            time.sleep(0.1)

    def configure(self, topic: str, setting: str, value: str) -> None:
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        admin.incremental_alter_configs([resource])[resource].result()

    def replay(self, *, waiting: bool | None = True) -> list[LaneResult]:
        """Replay what waits; afterwards every lane is open, and nothing is left in the table."""
        store = open_store(self.config)
        lanes = [lane.lane for lane in survey(store, "local") if not lane.is_open]
        assert waiting is None or bool(lanes) == self.standby
        results = [drain(self.config, lane, operation="op", settle=0.2, skew=0.0) for lane in lanes]
        for lane in survey(store, "local"):
            assert (lane.state, lane.is_open, lane.events) == ("open", True, 0) or not self.standby
        assert all(result.outcome.balanced for result in results)
        return results

    def read(self, topic: str) -> dict[str, Message]:
        """Read what is committed, with a client of confluent-kafka's own: event id → record.

        Other tests park events, too, some of which have no id.
        """
        found = ((dict(message.headers() or ()).get("ce_id"), message) for message in self._messages(topic))
        return {event_id.decode(): message for event_id, message in found if event_id}

    def letters(self) -> dict[str | None, Letter]:
        read = [
            read_letter(message.headers(), message.key(), message.value())
            for message in self._messages(self.dead_letters)
        ]
        return {one.id: one for one in read}

    def _messages(self, topic: str) -> list[Message]:
        return read_topic(self._bootstrap, topic)

    def close(self) -> None:
        for producer in self._producers:
            producer.close(5)


@pytest.fixture(params=["main", "standby"])
def shop(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    for variable in [name for name in os.environ if name.startswith("REDRIVE_") and "TEST" not in name]:
        monkeypatch.delenv(variable)  # this platform's file says it all
    shop = Shop(stack, tmp_path, standby=request.param == "standby")
    yield shop
    shop.close()


def order(number: int, body: bytes = b"") -> dict[str, Any]:
    return {"id": number, "body": body}


@pytest.mark.parametrize(
    ("value", "field"),
    [({"id": 1.5}, "id"), ({"id": True}, "id"), ({"id": 2**63}, "id"), ({"id": object()}, "id"), (b"bytes", "")],
)
def test_a_value_that_fits_no_schema_becomes_a_dead_letter_and_stops_no_other(shop: Shop, value: Any, field: str):
    producer = shop.producer()
    receipts = [producer.publish(shop.orders, "k", each) for each in (order(1), value, order(2))]
    ids = [receipt.result(30).event_id for receipt in receipts]
    assert [receipt.path for receipt in receipts] == [shop.path, "dead_letter", shop.path]
    shop.replay()
    assert list(shop.read(shop.orders)) == [ids[0], ids[2]]
    letters = shop.letters()
    assert (letters[ids[1]].reason, letters[ids[1]].topic) == ("invalid-value", shop.orders)
    assert letters[ids[1]].field.endswith(field)


def test_a_topic_that_is_not_in_the_settings_is_an_error_at_once(shop: Shop):
    producer = shop.producer()
    with pytest.raises(ConfigError, match="nowhere"):
        producer.publish("nowhere", "k", order(1))
    assert producer.publish(shop.orders, "k", order(2)).result(30).path == shop.path


def test_events_without_a_key_and_tombstones_arrive_as_they_are(shop: Shop):
    producer = shop.producer()
    receipts = [
        producer.publish(shop.orders, None, order(1)),
        producer.publish(shop.orders, "k", None),
        producer.publish(shop.orders, None, None),
        producer.publish(shop.orders, b"", order(2)),
    ]
    ids = [receipt.result(30).event_id for receipt in receipts]
    shop.replay()
    there = shop.read(shop.orders)
    assert [(there[i].key(), there[i].value() is None) for i in ids] == [
        (None, False),
        (b"k", True),
        (None, True),
        (b"", False),
    ]


def test_events_larger_than_an_item_of_the_table_arrive_byte_for_byte(shop: Shop):
    """3 MB that nothing can compress: eight items."""
    producer = shop.producer()
    bodies = [os.urandom(3_000_000), b"small", os.urandom(500_000)]
    receipts = [producer.publish(shop.large, "k", order(i, body)) for i, body in enumerate(bodies)]
    ids = [receipt.result(60).event_id for receipt in receipts]
    shop.replay()
    there = shop.read(shop.large)
    assert list(there) == ids
    assert [there[i].value()[-len(body) :] for i, body in zip(ids, bodies, strict=True)] == bodies


def test_an_event_larger_than_its_topic_takes_becomes_a_dead_letter(shop: Shop):
    producer = shop.producer()
    receipt = producer.publish(shop.orders, "k", order(1, os.urandom(1_500_000)))
    assert receipt.result(30).path == "dead_letter"
    shop.replay()
    assert shop.letters()[receipt.event_id].reason == "too-large"


def test_an_event_larger_than_a_dead_letter_may_be_is_refused_at_once(shop: Shop):
    producer = shop.producer()
    with pytest.raises(InvalidEventError, match="bytes"):
        producer.publish(shop.orders, "k", order(1, os.urandom(3_000_000)))
    with pytest.raises(InvalidEventError, match="bytes"):
        producer.publish(shop.orders, "k", order(1), headers=[("big", os.urandom(3_000_000))])
    with pytest.raises(InvalidEventError, match="bytes"):
        producer.publish(shop.orders, os.urandom(3_000_000), order(1))
    assert producer.publish(shop.orders, "k", order(2)).result(30).path == shop.path
    shop.replay()


def test_headers_that_make_an_event_too_large_make_it_a_dead_letter(shop: Shop):
    producer = shop.producer()
    receipts = [
        producer.publish(shop.orders, "k", order(1), headers=[("big", os.urandom(1_500_000))]),
        producer.publish(shop.orders, "k", order(2)),
    ]
    assert [receipt.result(30).path for receipt in receipts] == ["dead_letter", shop.path]
    shop.replay()
    assert list(shop.read(shop.orders)) == [receipts[1].event_id]


def test_ten_thousand_headers_arrive_in_order(shop: Shop):
    producer = shop.producer()
    headers: list[tuple[str, bytes | None]] = [(f"h{i % 7}", b"%d" % i) for i in range(9_998)]
    headers += [("none", None), ("größe", b"\xff\x00")]
    receipt = producer.publish(shop.orders, "k", order(1), headers=headers)
    assert receipt.result(30).path == shop.path
    shop.replay()
    got = shop.read(shop.orders)[receipt.event_id].headers()
    start = got.index(headers[0])
    assert got[start : start + len(headers)] == headers


def test_keys_that_are_not_utf8_keep_their_bytes_and_their_order(shop: Shop):
    producer = shop.producer()
    key = b"\xff\xfe\x00\xc3("
    receipts = [producer.publish(shop.orders, key, order(number)) for number in range(50)]
    ids = [receipt.result(30).event_id for receipt in receipts]
    shop.replay()
    there = shop.read(shop.orders)
    assert list(there) == ids
    assert {message.key() for message in there.values()} == {key}


@pytest.mark.parametrize(
    "field",
    [
        {"event_id": ""},
        {"event_id": "\ud800"},
        {"event_id": 7},
        {"key": 7},
        {"key": "\ud800"},
        {"headers": [("h", 7)]},
        {"headers": [("h", "text")]},
        {"headers": [("\ud800", b"")]},
        {"headers": [(b"h", b"")]},
        {"headers": [("h", b"", b"")]},
    ],
    ids=str,
)
def test_what_no_record_can_carry_is_refused_at_once_and_stops_no_other(shop: Shop, field: dict[str, Any]):
    producer = shop.producer()
    with pytest.raises(InvalidEventError, match=next(iter(field))):
        producer.publish(shop.orders, **{"key": "k", "value": order(1)} | field)
    assert producer.publish(shop.orders, "k", order(2)).result(30).path == shop.path
    assert producer.flush(5) == 0


def test_nothing_published_is_nothing_to_wait_for_and_nothing_to_replay(shop: Shop):
    producer = shop.producer()
    assert producer.flush(5) == 0
    producer.close()
    store = open_store(shop.config)
    assert [lane for lane in survey(store, "local") if not lane.is_open] == []


def test_an_event_that_a_compacted_topic_refuses_stops_no_other(shop: Shop):
    """Without a key it is a dead letter, whichever path the others take."""
    producer = shop.producer()
    receipts = [producer.publish(shop.compacted, key, order(1)) for key in ("a", None, "b")]
    ids = [receipt.result(30).event_id for receipt in receipts]
    assert receipts[1].path == "dead_letter"
    shop.replay()
    assert sorted(shop.read(shop.compacted)) == sorted([ids[0], ids[2]])
    assert shop.letters()[ids[1]].reason == "refused"


@pytest.mark.parametrize("shop", ["main"], indirect=True)
def test_events_behind_one_that_brokers_refuse_do_not_overtake_those_refused_with_it(shop: Shop):
    """The topic takes less than the settings say. A whole batch is refused for one event, while later ones go out."""
    shop.configure(shop.large, "max.message.bytes", "100000")
    producer = shop.producer()
    large = {2_000, 9_000}
    receipts = [
        producer.publish(shop.large, f"k{number % 7}", order(number, os.urandom(200_000) if number in large else b""))
        for number in range(15_000)
    ]
    ids = [receipt.result(60).event_id for receipt in receipts]
    shop.replay(waiting=None)
    there = shop.read(shop.large)
    for key in range(7):
        good = [i for number, i in enumerate(ids) if number % 7 == key and number not in large]
        assert [i for i, message in there.items() if message.key() == b"k%d" % key] == good
    assert {ids[number] for number in large} <= shop.read(PARKING_TOPIC).keys()


@pytest.mark.parametrize("by", [-7 * 86_400_000, -5_000, 5_000])
def test_a_clock_that_is_set_neither_loses_nor_reorders(shop: Shop, monkeypatch: pytest.MonkeyPatch, by: int):
    clock = _SetClock()
    monkeypatch.setattr(redrive.producing.outlets, "SystemClock", lambda: clock)
    producer = shop.producer()
    first = [producer.publish(shop.orders, "k", order(i)) for i in range(20)]
    clock.by = by
    second = [producer.publish(shop.orders, "k", order(i)) for i in range(20)]
    ids = [receipt.result(30).event_id for receipt in (*first, *second)]
    shop.replay()
    assert list(shop.read(shop.orders)) == ids


def test_a_clock_that_is_days_ahead_and_set_right_again_stops_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """Brokers refuse times more than an hour ahead, in dead letters as well.

    Either the caller hears that, or, if the letter went to the standby store, the replay parks it.
    """
    clock = _SetClock()
    monkeypatch.setattr(redrive.producing.outlets, "SystemClock", lambda: clock)
    producer = shop.producer()
    before = producer.publish(shop.orders, "k", order(1)).result(30)
    clock.by = 3 * 86_400_000
    ahead = producer.publish(shop.orders, "k", order(2))
    accepted = True
    try:
        ahead.result(30)
    except PublishError as error:
        assert "Invalid timestamp" in str(error)  # noqa: PT017 - one of two good ends
        accepted = False
    clock.by = 0
    after = producer.publish(shop.orders, "k", order(3)).result(30)
    shop.replay(waiting=None)
    assert list(shop.read(shop.orders)) == [before.event_id, after.event_id]
    assert (ahead.event_id in shop.read(PARKING_TOPIC)) is accepted


def test_a_topic_that_was_deleted_keeps_its_events_and_stops_no_other_topic(shop: Shop):
    """Nobody can publish there; what was accepted waits in the standby store, and goes on once the topic is back."""
    producer = shop.producer()
    first = producer.publish(shop.large, "k", order(1)).result(30)
    shop.replay()
    shop.delete_topic(shop.large)
    gone = producer.publish(shop.large, "k", order(2))
    other = producer.publish(shop.orders, "k", order(3))
    assert {gone.result(60).path, other.result(60).path} <= {"main", "standby"}
    shop.create_topics()
    shop.replay(waiting=None)
    assert list(shop.read(shop.large)) == [gone.event_id]
    assert list(shop.read(shop.orders)) == [other.event_id]
    assert first.event_id != gone.event_id


class _SetClock(SystemClock):
    """A wall clock that can be set."""

    by = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.by
