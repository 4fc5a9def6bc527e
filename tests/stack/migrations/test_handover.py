"""A consumer group of the SDK goes over to another topic with the producers, while it consumes, and back."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from deployments.local.stack import Stack
from redrive import EventConsumer
from redrive.aliases.switching import alias_back, alias_forth, switch
from redrive.received import ReceivedEvent
from tests.stack.migrations.live import Publishing, following, migration
from tests.stack.moving_house import MovingHouse
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(150)


class Member:
    """One member of the group; notes what it handles."""

    def __init__(self, house: MovingHouse, seen: list[tuple[str, str, int]]) -> None:
        successors = {house.orders: house.target}
        self._consumer = EventConsumer(house.group, house.config, [house.orders], successors=successors)
        self._seen = seen
        self._thread = threading.Thread(target=lambda: self._consumer.run(self._handle))
        self._thread.start()

    def _handle(self, event: ReceivedEvent) -> None:
        value: Any = event.value
        number = value["id"] if "id" in value else value["number"]
        self._seen.append((event.topic, (event.key or b"").decode(), number))

    def leave(self) -> None:
        self._consumer.stop()
        self._thread.join(30)
        self._consumer.close()


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    return MovingHouse(stack, tmp_path, monkeypatch)


def test_a_group_handles_each_event_once_and_in_order_across_the_switch_and_back_while_members_come_and_go(
    house: MovingHouse,
) -> None:
    seen: list[tuple[str, str, int]] = []
    members = [Member(house, seen), Member(house, seen)]
    with Publishing(house) as publishing:
        with following(house, migration(house)):
            publishing.wait_until(200)
            moved = threading.Thread(
                target=lambda: switch(
                    house.config, alias_forth(house.config, migration(house)), operation="forth", settle=0.5
                )
            )
            moved.start()
            members.append(Member(house, seen))
            members.pop(0).leave()
            moved.join()
            publishing.wait_until(200)
            wait_until(lambda: sum(topic == house.target for topic, _, _ in list(seen)) > 200)
        alias = alias_back(house.config, house.orders, house.target)
        assert alias is not None
        with following(house, migration(house, "down")):
            switch(house.config, alias, operation="back", settle=0.5)
            publishing.wait_until(200)

    every = sum(len(numbers) for numbers in publishing.published.values())
    try:
        wait_until(lambda: len(seen) >= every)
    finally:
        for member in members:
            member.leave()
    assert [twice for twice, times in Counter(number for _, _, number in seen).items() if times > 1] == []
    handled: dict[str, list[int]] = defaultdict(list)
    for _, key, number in seen:
        handled[key].append(number)
    assert handled == publishing.published
    topics = [topic for topic, _, _ in seen]
    assert topics[0] == topics[-1] == house.orders
    assert house.target in topics
