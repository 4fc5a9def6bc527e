"""From the event loop to the producer: no cluster keeps another's partners waiting, and an end waits for no queue."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from redrive.avro.schema import parse
from redrive.coding import Writer
from redrive.errors import BackPressureError, InvalidEventError, InvalidKeyError
from redrive.events import Event
from redrive.gateway import handing_over
from redrive.gateway.cloud_events import PartnerEvent
from redrive.gateway.handing_over import Outcome
from redrive.gateway.publishing import Publisher
from redrive.producer import EventProducer
from redrive.receipts import Receipt

SLOW = [f"slow-{number}" for number in range(8)]
CLUSTERS = {"fast": "one"} | dict.fromkeys(SLOW, "two")


class Producer:
    """Takes events of ``fast`` at once, and of the other topics only when it is let go on.

    Attributes:
        begun: the ids of events that were handed over.
        fails: by topic, what is raised in place of taking an event.
        refuses: by topic, why Kafka makes dead letters of what was taken.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go_on = threading.Event()
        self.fails: dict[str, Exception] = {}
        self.refuses: dict[str, str] = {}
        self._changed = threading.Condition()

    def schema(self, _topic: str) -> Any:
        return parse('"long"')

    def publish(self, topic: str, key: str | None, value: Any, *, event_id: str, **_: object) -> Receipt:
        self.begun.append(event_id)
        if topic != "fast":
            self.go_on.wait(20)
        if topic in self.fails:
            raise self.fails[topic]
        receipt = Receipt(Event(event_id, topic, None, b"", [], 0), self._changed)
        if topic in self.refuses:
            receipt.path, receipt.refusal = "dead_letter", self.refuses[topic]
            receipt.event = Event(event_id, "dlq.gateway", None, b"", [], 0)
        receipt.acknowledge("main")
        return receipt


def events(*ids: str) -> list[PartnerEvent]:
    return [PartnerEvent(f"acme/shop/{each}", None, "payload-secret", [], b"", 500) for each in ids]


def run(steps: Callable[[Publisher, Producer], Awaitable[None]]) -> None:
    async def inside() -> None:
        producer = Producer()
        publisher = Publisher(cast("EventProducer", producer), CLUSTERS)
        try:
            await steps(publisher, producer)
        finally:
            producer.go_on.set()
            await asyncio.to_thread(publisher.close, 5.0)

    asyncio.run(inside())


async def begun(producer: Producer, count: int) -> None:
    async with asyncio.timeout(5):
        while len(producer.begun) < count:
            await asyncio.sleep(0.01)


def kinds(outcomes: list[Outcome]) -> list[str | None]:
    return [each and each.kind for each in outcomes]


def test_a_cluster_that_takes_nothing_keeps_nobody_waiting_who_publishes_to_another() -> None:
    async def steps(publisher: Publisher, producer: Producer) -> None:
        waiting = [publisher.publish(topic, events(topic)) for topic in SLOW]
        await begun(producer, 1)
        async with asyncio.timeout(2):
            assert await publisher.publish("fast", events("1", "2")) == [None, None]
        assert not any(each.done() for each in waiting)

    run(steps)


def test_what_waits_for_a_cluster_is_bounded_and_the_rest_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_over, "MOST_BYTES", 3 * (500 + handing_over.PER_EVENT))

    async def steps(publisher: Publisher, producer: Producer) -> None:
        first = publisher.publish("slow-0", events("1", "2", "3", "4"))  # more than may wait, but nobody else waits
        await begun(producer, 1)
        fits = publisher.publish("slow-0", events("5", "6"))
        async with asyncio.timeout(2):
            refused = await publisher.publish("slow-1", events("7", "8"))
        assert kinds(refused) == ["unavailable", "unavailable"]
        producer.go_on.set()
        assert kinds(await first) + kinds(await fits) == [None] * 6

    run(steps)


def test_what_has_waited_too_long_is_given_up_and_surely_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_over, "PATIENCE", 0.05)

    async def steps(publisher: Publisher, producer: Producer) -> None:
        first = publisher.publish("slow-0", events("1"))
        await begun(producer, 1)
        late = publisher.publish("slow-0", events("2"))
        await asyncio.sleep(0.1)
        producer.go_on.set()
        assert kinds(await first) == [None]
        assert kinds(await late) == ["unavailable"]
        assert producer.begun == ["acme/shop/1"]

    run(steps)


def test_an_end_gives_up_what_is_not_begun_and_waits_no_longer_than_it_may(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(publisher: Publisher, producer: Producer) -> None:
        first = publisher.publish("slow-0", events("1"))
        await begun(producer, 1)
        queued = [publisher.publish(topic, events(topic)) for topic in SLOW]
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await asyncio.to_thread(publisher.close, 0.2)
        assert time.monotonic() - started < 20
        assert [kinds(await each) for each in queued] == [["unavailable"]] * len(SLOW)
        assert kinds(await publisher.publish("fast", events("late"))) == ["unavailable"]
        assert not first.done()
        producer.go_on.set()
        assert kinds(await first) == [None]  # what was begun is ended by the producer
        assert producer.begun == ["acme/shop/1"]

    run(steps)
    assert "left to the end of the producer" in caplog.text


def test_after_back_pressure_the_rest_of_a_request_is_given_up_and_the_log_says_what_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def steps(publisher: Publisher, producer: Producer) -> None:
        producer.fails["fast"] = BackPressureError(100_000, 7, 5.0)
        outcomes = await publisher.publish("fast", events("1", "2", "3"))
        assert kinds(outcomes) == ["unavailable"] * 3
        assert outcomes[0] is not None
        assert (outcomes[0].status, outcomes[0].headers["Retry-After"]) == (503, "5")
        assert producer.begun == ["acme/shop/1"]

    run(steps)
    assert "100,000 events" in caplog.text


def test_a_field_called_key_is_not_taken_for_the_key_of_the_event() -> None:
    schema = '{"type": "record", "name": "Cache", "fields": [{"name": "key", "type": "string"}]}'

    async def steps(publisher: Publisher, producer: Producer) -> None:
        with pytest.raises(InvalidEventError) as misfit:
            Writer("fast", 1, 1, parse(schema)).encode({"key": 7})
        for error, field in ((misfit.value, "data.key"), (InvalidKeyError("fast", "is missing"), "partitionkey")):
            producer.fails["fast"] = error
            (outcome,) = await publisher.publish("fast", events("1"))
            assert outcome is not None
            assert (outcome.status, outcome.errors) == (422, [{"field": field, "reason": error.reason}])

    run(steps)


def test_what_kafka_refuses_after_it_was_accepted_is_logged_apart_from_other_trouble_and_without_its_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def steps(publisher: Publisher, producer: Producer) -> None:
        producer.go_on.set()
        producer.fails["slow-0"] = ValueError("payload-secret")
        producer.refuses["fast"] = "Broker: Topic authorization failed"
        assert kinds(await publisher.publish("slow-0", events("x"))) == ["unavailable"]
        for number in range(20):
            assert kinds(await publisher.publish("fast", events(f"{number}\u2028forged"))) == [None]

    with caplog.at_level(logging.WARNING):
        run(steps)
    other, refused = [record.getMessage() for record in caplog.records]
    assert "slow-0" in other
    assert "'acme/shop/0\\u2028forged' for fast (Broker: Topic authorization failed)" in refused
    assert "its dead letter goes to dlq.gateway" in refused
    assert "redrive run dlq-correction" in refused
    assert "payload-secret" not in caplog.text
