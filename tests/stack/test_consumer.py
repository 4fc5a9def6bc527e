"""The consumer on a real cluster: in order, at least once, and nothing bad stops what is good."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deployments.local.stack import Stack
from redrive import envelope
from redrive.consumer import ConsumerSettings, EventConsumer
from redrive.deadletters.letter import Letter, read_letter
from redrive.errors import ConfigError, InvalidEventError, UnavailableError
from redrive.events import Headers
from redrive.received import ReceivedEvent
from redrive.wire import frame
from tests.stack.platform import ORDER, Gatekeeper, Platform, wait_until

QUICK = ConsumerSettings(retries=2, pause=0.05, longest_pause=0.4)


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


class Handled:
    """A handler that keeps what it gets, and fails where it is told to."""

    def __init__(self, fail: Callable[[ReceivedEvent], None] = lambda event: None) -> None:
        self.events: list[ReceivedEvent] = []
        self._fail = fail

    def __call__(self, event: ReceivedEvent) -> None:
        self._fail(event)
        self.events.append(event)

    @property
    def ids(self) -> list[int]:
        return [event.value["id"] for event in self.events]


def consume(
    platform: Platform,
    handler: Callable[[ReceivedEvent], None],
    *topics: str,
    until: Callable[[], bool] | None = None,
    settings: ConsumerSettings = QUICK,
    **more: Any,
) -> dict[str, int]:
    """Run a consumer until ``until``, or until nothing has come for a while."""
    with EventConsumer(
        platform.group, platform.config, topics or [platform.orders], settings=settings, **more
    ) as consumer:
        if until is None:
            consumer.run(handler, idle=4)
        else:
            stopper = threading.Thread(target=lambda: (wait_until(until, 60), consumer.stop()))
            stopper.start()
            consumer.run(handler)
            stopper.join()
        return dict(consumer.counts)


def letters(platform: Platform) -> list[Letter]:
    found = platform.read(platform.dead_letters)
    return [read_letter(list(m.headers() or []), m.key(), m.value()) for m in found]  # type: ignore[arg-type]


def of(event_id: str, source: str = "shop") -> Headers:
    return envelope.headers(event_id, source=source, type="orders", time_ms=0)


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


def test_what_can_t_be_decoded_is_dead_lettered_and_the_rest_goes_on(platform: Platform) -> None:
    good = platform.orders_of(range(8))
    other = platform.register(f"other-{platform.orders}", "string")
    bad = [
        (b"", "bad-frame", None),
        (b"\x01junk", "bad-frame", None),
        (b'{"id": 1}', "bad-frame", None),
        (good[0][:-1], "bad-frame", platform.writer.schema_id),
        (good[0] + b"\x00", "bad-frame", platform.writer.schema_id),
        (frame(2_147_480_000, b"x"), "unknown-schema", 2_147_480_000),
        (frame(other, b"\x02a"), "incompatible-schema", other),
    ]
    mixed = [value for pair in zip(good, [data for data, _, _ in bad] + [good[0]], strict=True) for value in pair]
    platform.send(platform.orders, mixed, headers=[("trace", b"t")])
    handled = Handled()
    schemas = {platform.orders: json.dumps(ORDER)}
    counts = consume(platform, handled, until=lambda: len(handled.events) >= 9, schemas=schemas)
    assert handled.ids == [*range(8), 0]
    assert counts["dead_lettered"] == len(bad)
    found = letters(platform)
    assert [(letter.value, letter.reason, letter.schema_id) for letter in found] == bad
    assert [(letter.topic, letter.partition, letter.offset) for letter in found] == [
        (platform.orders, 0, 2 * number + 1) for number in range(len(bad))
    ]
    assert {(letter.key, tuple(letter.headers), letter.producer) for letter in found} == {
        (b"k", (("trace", b"t"),), platform.group)
    }
    assert platform.committed(platform.orders) == len(mixed)


def test_a_handler_that_fails_is_tried_again_in_order_while_other_partitions_go_on(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(100)), partition=0)
    platform.send(platform.orders, platform.orders_of(range(1000, 1100)), partition=1)
    failures: list[int] = []

    def fail(event: ReceivedEvent) -> None:
        if event.value["id"] == 50 and len(failures) < 2:
            failures.append(len(handled.events))
            raise RuntimeError("not yet")

    handled = Handled(fail)
    settings = ConsumerSettings(retries=2, pause=1.5, longest_pause=1.5)
    counts = consume(platform, handled, until=lambda: len(handled.events) >= 200, settings=settings)
    assert [number for number in handled.ids if number < 1000] == list(range(100))
    assert [number for number in handled.ids if number >= 1000] == list(range(1000, 1100))
    assert max(handled.ids.index(number) for number in range(1000, 1100)) < handled.ids.index(50)
    assert (counts["handled"], counts["retried"], counts["dead_lettered"]) == (200, 2, 0)


def test_a_handler_that_fails_again_and_again_costs_one_dead_letter(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(20)), headers=of("same", source="")[:1])
    platform.send(platform.orders, platform.orders_of(range(20, 22)))
    attempts: dict[int, int] = defaultdict(int)

    def fail(event: ReceivedEvent) -> None:
        attempts[event.value["id"]] += 1
        if event.value["id"] in (0, 20):
            raise ValueError(f"can't handle {event.value['id']}")

    handled = Handled(fail)
    counts = consume(platform, handled, until=lambda: 21 in handled.ids)
    assert (attempts[0], attempts[20]) == (3, 3), "once, and two retries"
    assert counts["dead_lettered"] == 2
    first, second = letters(platform)
    assert (first.reason, first.detail, first.offset) == ("handler-failed", "ValueError: can't handle 0", 0)
    assert (second.offset, second.attempt) == (20, 1)
    assert handled.ids == [1, 21], "a dead letter's id does not make duplicates of others; a handled one's does"


def test_a_handler_may_say_never(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of([1, 2]))

    def fail(event: ReceivedEvent) -> None:
        if event.value["id"] == 1:
            raise InvalidEventError(event.topic, "id", "is not a known order")

    handled = Handled(fail)
    assert consume(platform, handled, until=lambda: 2 in handled.ids)["retried"] == 0
    assert [(letter.reason, letter.field) for letter in letters(platform)] == [("handler-failed", "id")]


def test_a_handler_may_say_later_for_as_long_as_it_takes(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of([1, 2]))
    refusals = iter(range(7))

    def fail(event: ReceivedEvent) -> None:
        if event.value["id"] == 1 and next(refusals, None) is not None:
            raise UnavailableError("the warehouse", "closed")

    handled = Handled(fail)
    counts = consume(platform, handled, until=lambda: 2 in handled.ids)
    assert handled.ids == [1, 2]
    assert (counts["retried"], counts["dead_lettered"]) == (7, 0)


def test_a_partition_goes_on_when_the_event_put_back_has_been_deleted(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(20)))

    def fail(event: ReceivedEvent) -> None:
        if event.value["id"] == 5:
            deleted = admin.delete_records([TopicPartition(platform.orders, 0, 8)])
            next(iter(deleted.values())).result(30)
            raise RuntimeError("never")

    admin = AdminClient({"bootstrap.servers": platform.bootstrap})
    handled = Handled(fail)
    consume(platform, handled, until=lambda: 19 in handled.ids)
    assert handled.ids == [0, 1, 2, 3, 4, *range(8, 20)]
    assert platform.committed(platform.orders) == 20


def test_a_long_pause_does_not_cost_the_membership(platform: Platform) -> None:
    """The pause is longer than the group waits for a poll."""
    platform.send(platform.orders, platform.orders_of([1, 2]))
    failures = iter(range(1))

    def fail(event: ReceivedEvent) -> None:
        if next(failures, None) is not None:
            raise RuntimeError("once")

    handled = Handled(fail)
    settings = ConsumerSettings(pause=13, longest_pause=13, max_poll_interval=6)
    consume(platform, handled, until=lambda: 2 in handled.ids, settings=settings)
    assert handled.ids == [1, 2]
    assert platform.committed(platform.orders) == 2


def test_slow_handlers_of_a_full_batch_do_not_cost_the_membership(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(40)))
    handled = Handled(lambda event: time.sleep(0.25))
    settings = ConsumerSettings(max_poll_interval=6, window=0)
    consume(platform, handled, until=lambda: len(handled.events) >= 40, settings=settings)
    assert handled.ids == list(range(40))
    assert platform.committed(platform.orders) == 40


class Crash(BaseException):
    """Ends a consumer as a signal would."""


def test_a_consumer_that_dies_loses_nothing(platform: Platform) -> None:
    """Not even the dead letter that it had not yet sent."""
    platform.send(platform.orders, [*platform.orders_of(range(10)), b"junk", *platform.orders_of(range(10, 20))])

    def fail(event: ReceivedEvent) -> None:
        if event.value["id"] == 15:
            raise Crash

    first, second = Handled(fail), Handled()
    with pytest.raises(Crash):
        consume(platform, first)
    consume(platform, second, until=lambda: 19 in second.ids)
    assert first.ids == list(range(15))
    assert second.ids == list(range(15, 20))
    assert len(letters(platform)) == 1


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


def test_a_batch_is_committed_when_the_next_is_asked_for(platform: Platform) -> None:
    platform.send(platform.orders, [*platform.orders_of(range(10)), b"junk", *platform.orders_of(range(11, 30))])

    def batches() -> Iterator[list[int]]:
        with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as consumer:
            for batch in consumer.batches(max_events=10, idle=4):
                yield [event.value["id"] for event in batch]

    reading = batches()
    assert next(reading) == list(range(10))
    assert platform.committed(platform.orders) == 0
    assert next(reading) == list(range(11, 20))
    assert platform.committed(platform.orders) == 10
    assert [letter.offset for letter in letters(platform)] == [10], "it is written before its offset is committed"
    reading.close()
    assert platform.committed(platform.orders) == 10, "the second batch was not handled"
    rest = list(batches())
    assert [number for batch in rest for number in batch] == list(range(11, 30))
    assert all(rest), "no batch is empty"
    assert platform.committed(platform.orders) == 30


def test_who_leaves_the_loop_may_commit_the_batch_in_hand(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(5)))
    with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as consumer:
        for batch in consumer.batches(max_events=5, max_wait=5):
            assert len(batch) == 5
            consumer.commit()
            break
    assert platform.committed(platform.orders) == 5


def test_a_second_consumer_takes_over_partitions_and_nothing_is_lost(platform: Platform) -> None:
    """The events of each key come in order, whichever of the two handles them; each is there at least once."""
    done, seen = threading.Event(), threading.Lock()
    handled: list[tuple[str, int]] = []
    consumers: list[EventConsumer] = []

    def run(name: str) -> None:
        def handle(event: ReceivedEvent) -> None:
            time.sleep(0.002)
            with seen:
                handled.append((name, event.value["id"]))

        with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as consumer:
            consumers.append(consumer)
            consumer.run(handle)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second")]
    threads[0].start()
    for number in range(20):
        for partition in (0, 1):
            numbers = range(number * 100, number * 100 + 50)
            platform.send(platform.orders, platform.orders_of(n + 50 * partition for n in numbers), partition=partition)
        if number == 8:
            threads[1].start()
        time.sleep(0.2)
    wait_until(lambda: len({number for _, number in handled}) == 2_000, 60)
    done.set()
    for consumer in consumers:
        consumer.stop()
    for thread in threads:
        thread.join(30)
    assert {name for name, _ in handled} == {"first", "second"}
    for partition in (0, 1):
        firsts = list(dict.fromkeys(number for _, number in handled if number % 100 // 50 == partition))
        assert firsts == sorted(firsts)


def test_a_new_schema_while_the_registry_is_down_waits_and_the_other_partition_goes_on(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gatekeeper(stack.endpoints.registry)
    platform = Platform(stack, tmp_path, monkeypatch, registry=gate.url)
    newer = ORDER | {"fields": [*ORDER["fields"], {"name": "more", "type": "int", "default": 0}]}  # type: ignore[misc]
    platform.send(platform.orders, platform.orders_of([1]), partition=0)
    handled = Handled()

    def shut_and_send() -> None:
        wait_until(lambda: handled.ids == [1])
        writer = platform.registry.writer(platform.orders, json.dumps(newer), register=True)
        gate.open = False
        platform.send(platform.orders, [writer.encode({"id": 2, "more": 5}), *platform.orders_of([3])], partition=0)
        platform.send(platform.orders, platform.orders_of([100]), partition=1)
        wait_until(lambda: 100 in handled.ids)
        time.sleep(1)
        assert handled.ids == [1, 100]
        gate.open = True

    thread = threading.Thread(target=shut_and_send)
    thread.start()
    counts = consume(platform, handled, until=lambda: 3 in handled.ids)
    thread.join()
    assert handled.ids == [1, 100, 2, 3]
    assert counts["dead_lettered"] == 0
    gate.close()


def test_a_dead_letter_too_large_for_its_topic_goes_without_its_value(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane must not get stuck; the value is still where it was read."""
    platform = Platform(stack, tmp_path, monkeypatch, dlq='config = { "max.message.bytes" = 100000 }')
    platform.send(platform.orders, [b"\x01" + os.urandom(499_999), *platform.orders_of([1])])
    handled = Handled()
    consume(platform, handled, until=lambda: bool(handled.events))
    (letter,) = letters(platform)
    assert (letter.value, letter.lossless, letter.offset) == (None, False, 0)
    assert "500,000 bytes" in letter.detail


def test_while_dead_letters_can_t_be_written_nothing_is_committed(platform: Platform) -> None:
    admin = AdminClient({"bootstrap.servers": platform.bootstrap})
    admin.delete_topics([platform.dead_letters])[platform.dead_letters].result()
    wait_until(lambda: platform.dead_letters not in admin.list_topics(timeout=10).topics)
    platform.send(platform.orders, [b"junk"])
    with pytest.raises(UnavailableError, match=f"dead-letter topic {platform.dead_letters}"):
        consume(platform, Handled(), until=None)
    assert platform.committed(platform.orders) == 0


def test_a_group_without_a_dead_letter_topic_is_refused_at_the_start(platform: Platform) -> None:
    with pytest.raises(ConfigError, match=r"dlq\.nobody"):
        EventConsumer("nobody", platform.config, [platform.orders])
