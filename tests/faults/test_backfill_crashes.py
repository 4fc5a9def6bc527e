"""Backfills that are killed anywhere, while producers go on: each event is in the target once, in order, or parked."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.faults.backfill_rounds import EVENTS, Killed
from tests.faults.processes import start
from tests.faults.renewing import Job, main
from tests.stack.migrations.keyed import NEW, OLD, Topic, upgraded, value
from tests.stack.migrations.lab import Lab
from tests.stack.platform import ORDER

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def house(fault_stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Killed:
    return Killed(fault_stack, tmp_path, monkeypatch)


@pytest.fixture
def at_once(fault_stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Killed:
    """Its events go by columns."""
    return Killed(fault_stack, tmp_path, monkeypatch, rules=False)


@pytest.mark.parametrize(
    "point",
    [
        "after create:1",
        "before start:2",
        "after begin:3",
        "before transaction:6",
        "after transaction:6",
        "before end:1",
    ],
)
def test_a_backfill_that_is_killed_is_gone_on_with(house: Killed, point: str) -> None:
    house.fill()
    assert house.live("op-1", point) == -9
    house.fill(first=EVENTS // 2)
    assert house.live("op-2") == 0
    assert house.violations() == []


@pytest.mark.parametrize("point", ["after start:2", "after begin:4", "before transaction:5", "after transaction:5"])
def test_one_without_rules_that_is_killed_is_gone_on_with(at_once: Killed, point: str) -> None:
    at_once.fill()
    assert at_once.live("op-1", point) == -9
    at_once.fill(first=EVENTS // 2)
    assert at_once.live("op-2") == 0
    assert at_once.violations() == []


@pytest.mark.parametrize("which", ["house", "at_once"])
def test_it_may_be_killed_again_and_again_while_producers_go_on(which: str, request: pytest.FixtureRequest) -> None:
    house: Killed = request.getfixturevalue(which)
    done = threading.Event()

    def produce() -> None:
        first = 0
        while not done.is_set():
            house.fill(first)
            first += EVENTS // 2
            done.wait(0.5)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        for number in range(1, 5):
            assert (
                house.live(f"op-{number}", f"{'after' if number % 2 else 'before'} transaction:{4 * number}", 60) == -9
            )
    finally:
        done.set()
        producer.join()
    assert house.live("op-last") == 0
    assert house.violations() == []


@pytest.mark.parametrize("which", ["house", "at_once"])
def test_a_broker_that_is_killed_in_mid_copy_costs_nothing(
    which: str, fault_stack: Any, request: pytest.FixtureRequest
) -> None:
    house: Killed = request.getfixturevalue(which)
    house.fill()
    ended: list[int | None] = []
    copying = threading.Thread(target=lambda: ended.append(house.live("op-1", follow=9)))
    copying.start()
    time.sleep(4)
    broker = fault_stack.brokers[0]
    fault_stack.kill(broker)
    time.sleep(3)
    fault_stack.start(broker)
    house.fill(first=EVENTS // 2)
    copying.join()
    assert ended in ([0], [1])  # done, or it has said that a partition does not answer
    assert house.live("op-2") == 0
    assert house.violations() == []


def test_a_third_schema_that_comes_while_the_registry_is_away_waits_for_it(house: Killed, fault_stack: Any) -> None:
    house.fill()
    assert house.live("op-1") == 0
    third = ORDER | {"fields": [*ORDER["fields"], {"name": "channel", "type": "string", "default": ""}]}
    writer = house.registry.writer(house.orders, json.dumps(third), register=True)
    copying = threading.Thread(target=lambda: house.live("op-2", follow=12))
    copying.start()
    time.sleep(5)  # it has its own schema by now
    fault_stack.pause("registry")
    try:
        house.send(house.orders, [writer.encode({"id": 9_000, "note": "new", "channel": "web"})], 1)
        time.sleep(3)
        assert not [order for order in house.read(house.target) if b"new" in (order.value() or b"")]
    finally:
        fault_stack.resume("registry")
        copying.join()
    assert house.live("op-3") == 0
    assert house.violations() == []
    assert 9_000 in [order["number"] for order in house.moved(1)]


@pytest.mark.parametrize(
    "points",
    [
        ["before holds:1", "after begin:2", "before holds:2"],
        ["after transaction:3", "before transaction:4", "after holds:2", "after start:1"],
    ],
    ids=["before it is sure", "at the end of transactions"],
)
def test_a_migration_in_place_that_is_killed_leaves_the_newest_value_of_each_key(
    fault_stack: Any, tmp_path: Path, points: list[str]
) -> None:
    bootstrap = fault_stack.endpoints.bootstrap
    topic = Topic(Lab.make(bootstrap, **{"cleanup.policy": "compact"}))
    keys = [f"key {number}" for number in range(200)]
    newest: dict[str, bytes | None] = {key: value(f"first of {key}") for key in keys}
    topic.put(newest.items())
    done = threading.Event()

    def write() -> None:
        draw, producer = random.Random(7), Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
        number = 0
        while not done.is_set():
            number += 1
            key, kind = draw.choice(keys[:150]), draw.random()  # the others are quiet
            newest[key] = None if kind < 0.2 else value(f"{number}", NEW if kind < 0.5 else OLD)
            producer.produce(topic.source, newest[key], key.encode(), 0)
            producer.poll(0)
            time.sleep(0.002)
        producer.flush()

    def live(operation: str, point: str = "") -> int | None:
        log = tmp_path / "renewing.log"
        process = start(main, Job(bootstrap, topic.source, operation, str(log), point))
        process.join(120)
        assert process.exitcode is not None, log.read_text()[-3_000:]
        return process.exitcode

    writer = threading.Thread(target=write)
    writer.start()
    ended: list[int | None] = []
    try:
        for number, point in enumerate(points):
            fresh = {f"key {number} {each}": value(f"{each}") for each in range(200)}  # enough for each life to die of
            newest.update(fresh)
            topic.put(fresh.items())
            ended.append(live(f"op-{number}", point))
    finally:
        done.set()
        writer.join()
    assert ended == [-9] * len(points)
    assert live("op-last") == 0
    assert topic.values() == topic.values(committed=False) == {key: upgraded(now) for key, now in newest.items()}
    origins = [headers[-1][1] for message in topic.read(topic.source) if len(headers := message.headers() or []) > 1]
    assert len(origins) == len(set(origins)), "an event was published again more than once"
