"""A consumer group of the SDK goes over to another topic with the producers, while it consumes, and back."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from deployments.local.stack import Stack
from redrive.aliases import Alias, write_alias
from redrive.aliases.switching import Switched, switch
from redrive.aliases.turning import alias_back, alias_forth
from redrive.aliases.turning import following as following_alias
from redrive.consumer import EventConsumer
from redrive.errors import StoppedError
from redrive.received import ReceivedEvent
from tests.stack.migrations.live import Publishing, by_key, following, migration
from tests.stack.moving_house import MovingHouse
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(300)


class Member:
    """One member of the group; notes what it handles."""

    def __init__(self, house: MovingHouse, seen: list[ReceivedEvent]) -> None:
        successors = {house.orders: house.target}
        self._consumer = EventConsumer(house.group, house.config, [house.orders], successors=successors)
        self._seen = seen
        self._thread = threading.Thread(target=lambda: self._consumer.run(self._handle))
        self._thread.start()

    def _handle(self, event: ReceivedEvent) -> None:
        self._seen.append(event)

    def leave(self) -> None:
        self._consumer.stop()
        self._thread.join(30)
        self._consumer.close()


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    return MovingHouse(stack, tmp_path, monkeypatch)


def number_of(event: ReceivedEvent) -> int:
    value: Any = event.value
    return int(value["id"] if "id" in value else value["number"])


def go_over(house: MovingHouse) -> Switched:
    return switch(house.config, alias_forth(house.config, migration(house)), operation="forth", settle=0.5)


def give_up_half_way(house: MovingHouse) -> None:
    """End a switch while all producers store what they publish, as a kill would."""
    until = time.monotonic() + 3  # it looks places up first, and then waits for 5 s

    def check() -> None:
        if time.monotonic() > until:
            raise StoppedError("killed")

    with pytest.raises(StoppedError):
        switch(house.config, alias_forth(house.config, migration(house)), operation="killed", check=check)


def test_producers_and_a_group_go_over_and_back_while_they_work_and_each_event_is_everywhere_once_and_in_order(
    house: MovingHouse,
) -> None:
    seen: list[ReceivedEvent] = []
    members = [Member(house, seen), Member(house, seen)]
    with Publishing(house) as publishing:
        with following(house.config, migration(house)):
            publishing.wait_until(200)
            give_up_half_way(house)
            with ThreadPoolExecutor(1) as pool:
                moved = pool.submit(go_over, house)
                members.append(Member(house, seen))
                members.pop(0).leave()
                assert moved.result().no_places == ""
            old = len(house.read(house.orders))
            publishing.wait_until(200)
            wait_until(lambda: sum(event.topic == house.target for event in list(seen)) > 200)
            assert len(house.read(house.orders)) == old, "somebody still publishes to the old topic"
        alias = alias_back(house.config, house.orders, house.target)
        assert alias is not None
        with following(house.config, migration(house, "down")):
            assert switch(house.config, alias, operation="back", settle=0.5).no_places == ""
            new = len(house.read(house.target))
            publishing.wait_until(200)
            assert len(house.read(house.target)) == new, "somebody still publishes to the new topic"
    with following(house.config, migration(house)):
        pass

    every = sum(len(numbers) for numbers in publishing.published.values())
    try:
        wait_until(lambda: len({number_of(event) for event in list(seen)}) == every)
    finally:
        for member in members:
            member.leave()
    places: dict[int, set[str]] = defaultdict(set)
    handled: dict[str, list[int]] = defaultdict(list)
    for event in seen:
        number = number_of(event)
        if not places[number]:  # a rebalance may have an event come again, as ever, but only from where it was
            handled[(event.key or b"").decode()].append(number)
        places[number].add(f"{event.topic}/{event.partition}@{event.offset}")
    assert [several for several in places.values() if len(several) > 1] == []
    assert handled == publishing.published
    assert len(seen) - every < every / 20
    assert publishing.paths() == {"main", "standby"}
    assert by_key(house.read(house.target), house.registry.reader(house.target).decode) == publishing.published
    assert by_key(house.read(house.orders), house.registry.reader(house.orders).decode, "id") == publishing.published
    assert seen[0].topic == seen[-1].topic == house.orders
    assert house.target in {event.topic for event in seen}


def test_who_starts_while_producers_are_taken_back_does_not_handle_again_what_was_fed_back(house: MovingHouse) -> None:
    """The record by which the others have gone over is gone, as compaction leaves it."""
    house.publish(["a"])
    with following(house.config, migration(house)):
        pass
    house.publish_new(["b", "c"], first=1)
    with following(house.config, migration(house, "down")):
        pass
    assert len(house.read(house.orders)) == 3
    begin = [message.offset() or 0 for message in house.read(house.target)][1]
    member_of_group = Consumer({"bootstrap.servers": house.bootstrap, "group.id": house.group})
    places = [TopicPartition(house.orders, 0, 1), TopicPartition(house.target, 0, begin)]
    member_of_group.commit(offsets=places, asynchronous=False)
    member_of_group.close()
    forth = Alias(house.orders, house.target, house.target, 1, 1, "{}", places={0: (1, begin), 1: (0, 0)})
    write_alias(
        {"bootstrap.servers": house.bootstrap},
        following_alias(forth, replace(forth, current=house.orders, generation=2)),
    )

    seen: list[ReceivedEvent] = []
    member = Member(house, seen)
    try:
        wait_until(lambda: len(seen) >= 2)
        time.sleep(1)  # for what must not come
    finally:
        member.leave()
    assert [(event.topic, number_of(event)) for event in seen] == [(house.target, 1), (house.target, 2)]


def test_a_new_group_gets_all_there_is_once_the_topic_that_was_left_has_been_deleted(house: MovingHouse) -> None:
    house.publish(["a"])  # but one: all that it publishes has the same id
    with following(house.config, migration(house)):
        pass
    client = {"bootstrap.servers": house.bootstrap}
    places = {0: (1, 1), 1: (0, 0)}
    write_alias(client, Alias(house.orders, house.target, house.target, 1, 1, "{}", places=places))
    admin = AdminClient(client)  # a name of its own: the answer is lost with it
    admin.delete_topics([house.orders])[house.orders].result()
    wait_until(lambda: not house.exists(house.orders))

    seen: list[ReceivedEvent] = []
    member = Member(house, seen)
    try:
        wait_until(lambda: seen)
    finally:
        member.leave()
    assert [number_of(event) for event in seen] == [0]
