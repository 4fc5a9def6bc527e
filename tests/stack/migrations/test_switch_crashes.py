"""Switches that are killed, kill -9, at each of their steps: the next run finishes them, or takes producers back."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from deployments.local.stack import Stack
from redrive.aliases.alias import Alias, write_alias
from redrive.aliases.turning import alias_back, alias_forth
from redrive.config import Config
from redrive.errors import LateGroupsError
from redrive.received import ReceivedEvent
from redrive.standby.drain import open_store
from redrive.standby.lanes import Lane, LaneLog
from tests.faults.processes import start
from tests.faults.switching import Job, main
from tests.stack.migrations.live import Publishing, by_key, migration
from tests.stack.migrations.test_handover import Member, number_of
from tests.stack.moving_house import MovingHouse
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(300)


class Rig:
    """A platform whose producers are quick to divert, and programs that switch them."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house = MovingHouse(stack, folder, monkeypatch)
        quick = "[standby]\ngate_refresh = 0.3\ndivert_after = 1.5\n"
        self.house.file.write_text(self.house.file.read_text().replace("[standby]\n", quick))
        self.house.config = Config.load(self.house.file)
        self._log = folder / "switch.log"
        self._lives = 0

    def switch(self, way: str, point: str = "") -> None:
        """Live one life of a switch, to the point where it is killed, or to its end."""
        self._lives += 1
        house = self.house
        job = Job(
            str(house.file), house.orders, house.target, way, f"life-{self._lives}", str(self._log), point
        )  # fmt: skip
        process = start(main, job)
        process.join(60)
        said = self._log.read_text()[-3000:] if self._log.exists() else ""
        assert process.exitcode == (-9 if point else 0), f"{way} {point}: {process.exitcode}\n{said}"

    def lanes_lead_to(self) -> set[str]:
        """Where the entries that have opened lanes last lead to."""
        store = open_store(self.house.config)
        found = [LaneLog(store, Lane("one", self.house.orders, number)).state() for number in range(2)]
        assert all(state.kind == "open" for state in found), found
        return {state.target or self.house.orders for state in found}


@pytest.fixture
def rig(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(stack, tmp_path, monkeypatch)


def found_in(house: MovingHouse, topic: str) -> dict[str, list[int]]:
    field = "id" if topic == house.orders else "number"
    return by_key(house.read(topic), house.registry.reader(topic).decode, field)


@pytest.mark.parametrize(
    ("points", "end"),
    [
        (["before write_alias:1", "after write_alias:1", "after put_new.divert:1", "after bump:2"], "back"),
        (["before wait:1", "after wait:1", "before write_alias:2"], "forth"),
        (["after write_alias:2", "after put_new.seal:1"], "back"),
        (["after commit:1", "before put_new.open:1", "after put_new.open:1"], "forth"),
    ],
    ids=["as it diverts", "as it waits for the copy", "as it begins to replay", "as it opens lanes"],
)
def test_a_switch_that_is_killed_again_and_again_is_ended_by_the_next_run_and_nothing_is_lost_doubled_or_out_of_order(
    rig: Rig, points: list[str], end: str
) -> None:
    house = rig.house
    migration(house)
    with Publishing(house, pause=0.03) as publishing:
        publishing.wait_until(50)
        for point in points:
            rig.switch("forth", point)
        rig.switch(end)
        publishing.wait_until(50)
    assert all(receipt.done and not receipt.refusal for receipt in publishing.receipts)
    topic = house.target if end == "forth" else house.orders
    assert rig.lanes_lead_to() == {topic}
    assert found_in(house, topic) == publishing.published


def test_a_group_that_follows_is_not_misled_by_a_switch_that_was_taken_back_before_it_was_told_of_it(rig: Rig) -> None:
    house = rig.house
    migration(house)
    seen: list[ReceivedEvent] = []
    member = Member(house, seen)
    try:
        with Publishing(house, pause=0.03) as publishing:
            publishing.wait_until(50)
            rig.switch("forth")
            wait_until(lambda: house.target in {event.topic for event in list(seen)})
            rig.switch("back")
            wait_until(lambda: seen[-1].topic == house.orders)
            rig.switch("forth", "before write_alias:2")
            rig.switch("back")
            publishing.wait_until(50)
        every = sum(len(numbers) for numbers in publishing.published.values())
        wait_until(lambda: len({number_of(event) for event in list(seen)}) == every)
        time.sleep(1)  # for what would come twice
    finally:
        member.leave()
    handled: dict[str, list[int]] = defaultdict(list)
    for event in seen:
        handled[(event.key or b"").decode()].append(number_of(event))
    assert handled == publishing.published


def test_producers_are_not_switched_on_while_a_group_is_on_its_way_and_are_once_it_may_lag_or_has_come(
    rig: Rig,
) -> None:
    house = rig.house
    client = {"bootstrap.servers": house.bootstrap}
    moved = migration(house)
    forth = Alias(house.orders, house.target, house.target, 1, 1, "{}", places={0: (6, 4), 1: (0, 0)})
    write_alias(client, forth)

    def commit(topic: str, offset: int) -> None:
        consumer = Consumer({"bootstrap.servers": house.bootstrap, "group.id": house.group})
        consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
        consumer.close()

    def back(**but: list[str]) -> Alias | None:
        return alias_back(house.config, house.orders, house.target, **but)

    commit(house.orders, 5)
    assert back() is not None, "it has never been there, and stays"
    commit(house.target, 3)
    with pytest.raises(LateGroupsError, match=f"{house.group} .stopped; 1 behind in {house.orders}, partition 0"):
        back()
    there = back(may_lag=[house.group])
    assert there is not None
    assert (there.places, there.earlier) == ({}, forth.places)
    commit(house.target, 4)
    assert back() is not None, "it has come"

    write_alias(client, there)  # cut off before consumers were told
    again = alias_forth(house.config, moved)
    assert (again.current, again.places, again.unmoved) == (house.target, forth.places, True)
    write_alias(client, again)
    commit(house.target, 3)
    with pytest.raises(LateGroupsError, match=house.group):
        back()
