"""Partitions that go from one member of a group to another while it consumes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from deployments.local.stack import Stack
from redrive.consumer import EventConsumer
from redrive.received import ReceivedEvent
from tests.stack.consuming import QUICK
from tests.stack.platform import Platform, wait_until


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


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


def test_a_batch_has_every_event_of_a_partition_that_was_away_while_it_was_gathered(
    platform: Platform,
) -> None:
    """That member commits nothing; so what is in hand of the partition comes again, and is no duplicate of itself."""
    for partition in (0, 1):
        platform.send(platform.orders, platform.orders_of(range(5 * partition, 5 * partition + 5)), partition=partition)

    def visit() -> None:
        wait_until(lambda: len(consumer._in_hand) == 10)
        config = {"bootstrap.servers": platform.bootstrap, "group.id": platform.group, "enable.auto.commit": False}
        visitor = Consumer(config | {"partition.assignment.strategy": "cooperative-sticky"})
        visitor.subscribe([platform.orders])
        wait_until(lambda: visitor.poll(0.1) or visitor.assignment())
        visitor.close()
        for partition in (0, 1):
            platform.send(platform.orders, platform.orders_of([10 + partition]), partition=partition)

    with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as consumer:
        visiting = threading.Thread(target=visit)
        visiting.start()
        batch = next(consumer.batches(max_events=12, max_wait=40))
        visiting.join()
        consumer.commit()
    assert sorted(event.value["id"] for event in batch) == list(range(12))
    assert consumer.counts == {"handled": 12, "duplicates": 0, "dead_lettered": 0, "retried": 0}
    assert [platform.committed(platform.orders, partition) for partition in (0, 1)] == [6, 6]


def test_members_that_come_and_go_while_others_gather_batches_leave_no_event_out(platform: Platform) -> None:
    handled: list[int] = []
    numbers = {0: range(1_500), 1: range(10_000, 11_500)}

    def gather(consumer: EventConsumer) -> None:
        for batch in consumer.batches(max_events=70, max_wait=0.8):
            handled.extend(event.value["id"] for event in batch)

    def come_and_go() -> None:
        while not steady._stopping.is_set():
            with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as guest:
                threading.Timer(4, guest.stop).start()
                guest.run(lambda event: handled.append(event.value["id"]))

    with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as steady:
        threads = [threading.Thread(target=gather, args=(steady,)), threading.Thread(target=come_and_go)]
        for thread in threads:
            thread.start()
        for at in range(0, 1_500, 100):
            for partition, all_of_it in numbers.items():
                platform.send(platform.orders, platform.orders_of(all_of_it[at : at + 100]), partition=partition)
            time.sleep(1)
        try:
            wait_until(lambda: len(set(handled)) == 3_000, 90)
        finally:
            steady.stop()
            for thread in threads:
                thread.join(30)
    for all_of_it in numbers.values():
        assert list(dict.fromkeys(number for number in handled if number in all_of_it)) == list(all_of_it)
