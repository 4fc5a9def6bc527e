"""How a producer goes over to the topic that its lanes are opened to; Kafka and table are as in `test_dispatcher`."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

import pytest

from redrive.aliases import Alias, Moved
from redrive.dispatch import standby
from redrive.dispatch.mainpath import KafkaMainPath
from redrive.events import Event
from redrive.receipts import Progress, Receipt
from redrive.standby.lanes import DIVERT, OPEN, Gate, Lane, LaneLog
from redrive.standby.log import SEAL, seal
from tests.unit import test_migrator
from tests.unit.test_dispatcher import Client, Rig, Table, wait_until


@dataclass
class Elsewhere:
    topic: str

    def convert(self, event: Event) -> bytes | None:
        return event.value


@dataclass
class Topics:
    """Knows all topics; the old one is copied once that is said."""

    copied: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def find(self, name: str, topic: str) -> Elsewhere:
        return Elsewhere(topic)

    def current(self, name: str) -> None:
        return None

    def is_copied(self, name: str, before: str, now: str) -> bool:
        self.asked.append((name, before, now))
        return self.copied


def open_lanes(table: Table, target: str) -> None:
    """Divert both lanes and open them to a topic, as a switch does it whose producers sleep all the time."""
    for number in range(2):
        lane = Lane("c", "t", number)
        log = LaneLog(table, lane)
        epoch = log.state().epoch + 1
        assert log.extend(log.state(), DIVERT, epoch, "job")
        assert log.extend(log.state(), SEAL, epoch, "job")
        seal(table, lane.stream(epoch, "job"), "job")
        assert log.extend(log.state(), OPEN, epoch, "job", target)
    Gate(table, "c").bump()


class Seen(Client):
    """Remembers which event went to which topic."""

    def __init__(self, *, up: bool = True) -> None:
        super().__init__(up=up)
        self.went: list[tuple[str, str]] = []

    def send(self, receipt):
        super().send(receipt)
        self.went.append((receipt.event_id, receipt.destination.topic if receipt.destination else "t"))


def test_events_go_to_the_topic_that_their_lane_was_opened_to_and_back() -> None:
    client, table, topics = Seen(), Table(), Topics()
    rig = Rig(client, table, destinations=topics)
    rig.publish("1").result(5)
    open_lanes(table, "t2")
    time.sleep(0.5)
    rig.publish("2").result(5)
    open_lanes(table, "")
    time.sleep(0.5)
    assert rig.publish("3").result(5).path == "main"
    assert client.went == [("1", "t"), ("2", "t2"), ("3", "t")]
    assert {("t", "t", "t2"), ("t", "t2", "t")} <= set(topics.asked)


def test_until_the_old_topic_is_copied_events_are_stored(caplog: pytest.LogCaptureFixture) -> None:
    """They wait for a quarter of the time that they have, and no longer."""
    client, table, topics = Seen(), Table(), Topics(copied=False)
    rig = Rig(client, table, destinations=topics, publish_timeout=4.0)
    rig.publish("1").result(5)
    open_lanes(table, "t2")
    time.sleep(0.5)
    assert rig.publish("2").result(60).path == "standby"
    assert client.went == [("1", "t")]
    assert [record.message for record in caplog.records if "is diverted until" in record.message]
    assert not [record.message for record in caplog.records if "failed" in record.message]


def test_what_is_copied_a_moment_later_is_waited_for_and_no_lane_needs_a_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standby, "COPIED_WITHIN", 60.0)
    client, table, topics = Seen(), Table(), Topics(copied=False)
    rig = Rig(client, table, destinations=topics, publish_timeout=240.0)
    rig.publish("1").result(5)
    open_lanes(table, "t2")
    wait_until(lambda: len(topics.asked) > 1)  # it has seen that
    waiting = rig.publish("2")
    asked = len(topics.asked)
    wait_until(lambda: len(topics.asked) > asked + 4)
    assert not waiting.done
    topics.copied = True
    assert waiting.result(30).path == "main"
    assert client.went == [("1", "t"), ("2", "t2")]


def test_a_lane_that_went_over_after_what_waited_was_given_up_begins_its_wait_anew_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the next switch would divert it at once, and its events would wait for a replay."""
    monkeypatch.setattr(standby, "COPIED_WITHIN", 60.0)
    client, table, topics = Seen(), Table(), Topics(copied=False)
    rig = Rig(client, table, destinations=topics, publish_timeout=240.0)
    rig.publish("1").result(5)
    open_lanes(table, "t2")
    wait_until(lambda: len(topics.asked) > 1)
    waiting = rig.publish("2")
    lane = rig.dispatcher._lanes.topics["t"].lane_of(waiting.event)
    wait_until(lambda: bool(lane.held_since))
    given_up: list[Receipt] = []

    def give_up() -> bool:  # as soon as it is not in a thread's hands
        with rig.changed:
            given_up.extend(rig.dispatcher._standby.given_up(time.monotonic() + 1.0, "test"))
        return bool(given_up)

    wait_until(give_up)
    assert lane.held_since
    topics.copied = True
    wait_until(lambda: lane.topic == "t2")
    with rig.changed:
        assert not lane.held_since


def test_a_producer_that_has_sent_nothing_to_the_old_topic_waits_for_nobody() -> None:
    client, table, topics = Seen(), Table(), Topics(copied=False)
    open_lanes(table, "t2")
    rig = Rig(client, table, destinations=topics)
    assert rig.publish("1").result(5).path == "main"
    assert (client.went, topics.asked) == ([("1", "t2")], [])


def test_what_kafka_has_of_a_lane_is_settled_before_newer_events_go_over() -> None:
    client, table = Seen(up=False), Table()
    rig = Rig(client, table, destinations=Topics(), divert_after=60.0)
    first = rig.publish("1")
    open_lanes(table, "t2")
    time.sleep(0.5)
    second = rig.publish("2")
    time.sleep(0.3)
    assert client.went == [("1", "t")]
    client.up = True
    assert (first.result(5).path, second.result(5).path) == ("main", "main")
    assert client.went == [("1", "t"), ("2", "t2")]


def test_a_producer_that_knows_no_other_topic_stores_what_is_for_one() -> None:
    table = Table()
    open_lanes(table, "t2")
    rig = Rig(Seen(), table)
    assert rig.publish("1").result(5).path == "standby"


def test_a_lane_that_nothing_waits_in_goes_over_by_itself() -> None:
    table, topics = Table(), Topics()
    rig = Rig(Seen(), table, destinations=topics)
    rig.publish("1").result(5)
    open_lanes(table, "t2")
    wait_until(lambda: len(topics.asked) == 2)  # both lanes


def test_an_event_that_may_not_be_written_where_its_name_leads_becomes_a_dead_letter_that_says_so() -> None:
    schema = json.dumps({"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]})
    alias = Alias("orders", "orders.v2", "orders.v2", 1, 2, schema)
    receipt = Receipt(test_migrator.event(test_migrator.ORDER), threading.Condition())
    receipt.destination = Moved(alias, lambda _: test_migrator.OLD, {}, lambda topic: f"lacks Write on {topic}")
    KafkaMainPath({"bootstrap.servers": "localhost:1"}, max_event_bytes=1000).send(receipt)
    assert receipt.progress is Progress.REFUSED
    assert receipt.refusal.endswith("can't go to orders.v2: lacks Write on orders.v2")


def test_where_an_event_leads_follows_its_lane_also_while_that_is_diverted() -> None:
    client, table = Seen(), Table()
    rig = Rig(client, table, destinations=Topics())
    event = Event("1", "t", b"k", b"v", [], 1)
    assert not rig.dispatcher.leads_elsewhere(event)
    rig.publish("1").result(5)
    open_lanes(table, "t2")
    wait_until(lambda: rig.dispatcher.leads_elsewhere(event))
    rig.publish("2").result(5)
    log = LaneLog(table, Lane("c", "t", 0)), LaneLog(table, Lane("c", "t", 1))
    assert all(each.extend(each.state(), DIVERT, each.state().epoch + 1, "job") for each in log)
    Gate(table, "c").bump()
    time.sleep(0.5)
    assert rig.dispatcher.leads_elsewhere(event)


def test_what_the_rules_leave_out_is_acknowledged_without_being_sent() -> None:
    schema = json.dumps({"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]})
    alias = Alias("orders", "orders.v2", "orders.v2", 1, 2, schema, test_migrator.up("skip: a test order"))
    receipt = Receipt(test_migrator.event(test_migrator.ORDER), threading.Condition())
    receipt.destination = Moved(alias, lambda _: test_migrator.OLD, {})
    KafkaMainPath({"bootstrap.servers": "localhost:1"}, max_event_bytes=1000).send(receipt)
    assert receipt.result(0).path == "main"
    assert (receipt.partition, receipt.refusal) == (None, "")
