"""Handlers that fail, are slow or die, and a registry that is away: an event waits for them, and the others go on."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from deployments.local.stack import Stack
from redrive.consumer import ConsumerSettings
from redrive.errors import InvalidEventError, UnavailableError
from redrive.received import ReceivedEvent
from tests.stack.consuming import Handled, consume, letters, of
from tests.stack.platform import ORDER, Gatekeeper, Platform, wait_until


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


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
